#!/usr/bin/env bash
# From pictures to an endpoint that the workflow asks, to a better one, and back to nothing.
#
#     python -m local run bash docs/train-and-deploy.sh ARCHIVE FOLDER
#
# ARCHIVE is cifar-100-python.tar.gz; FOLDER has a subfolder of pictures for each class. `python -m local run` stands for
# AWS on this machine. Against an account, leave it out, sign in, and set:
#
#     TRAINING_S3      s3://bucket/prefix, for data, models and what the endpoint has seen
#     TRAINING_ROLE    the role that SageMaker works as
#
# SHA256 is the archive's, where it is not the published one. CHALICE is the folder whose config.json is kept up to date.
set -euo pipefail

archive=$1
folder=$2
: "${TRAINING_S3:?}" "${TRAINING_ROLE:?}"
chalice=${CHALICE:-.chalice}

say() { printf '\n%s\n' "$*" >&2; }

# Through the workflow. In an account: `aws s3 cp` into the inbox, and read the table of records.
classify() { python -m local classify "$@"; }

say "Pictures from the archive, into S3"
python -m training stage --archive "$archive" ${SHA256:+--sha256 "$SHA256"}
python -m training upload build/data "$TRAINING_S3/data"

say "A model, trained by SageMaker and judged here"
python -m training train --sagemaker --yes
python -m training evaluate --min-accuracy 0.9
python -m training register --approve

say "An endpoint that serves it"
python -m training deploy --chalice "$chalice" --yes
classify "$folder"/*/*0.png

say "Pictures of our own, a second model, and an update that can be rolled back"
python -m training stage --folder "$folder"
python -m training train
python -m training evaluate --min-accuracy 0.9
python -m training compare registry:approved build/model # ends here, with 1, if the second one is worse
python -m training register --approve
python -m training deploy --chalice "$chalice" --yes
classify "$folder"/*/*1.png

say "What the endpoint has seen and said"
sleep 3 # until it is written down; on AWS that takes some minutes
python -m training monitor --cloudwatch

say "All of it removed"
python -m training teardown --registry --data --yes
