"""What everything is called that a stage consists of: known beforehand, so that each part can name the others."""

from dataclasses import dataclass

APP = "scones-unlimited"
"""The application's name in `.chalice/config.json`; all names begin with it."""

INBOX_PREFIX = "inbox/"
"""What the trigger watches; nothing else of ours is ever put below it."""

REST = "api_handler"
"""Chalice's name for the function behind the REST routes."""

TRIGGER = "on_picture"
"""The function that S3 tells of pictures."""

RULES = ("on_stopped", "reconcile", "measure")
"""The functions that rules of EventBridge call."""

UPLOADS_PREFIX = f"{INBOX_PREFIX}uploads/"
"""Where the REST API puts pictures, and has them put: it may write nowhere else."""

INDEX = "by_status"
"""The index of the records by status and `updated_at`."""

SURENESS_INDEX = "by_sureness"
"""The index of the records that were held back, by status and how sure the model was of them."""

OPEN_ROUTES = frozenset({"GET /", "GET /assets/{name}"})
"""The files of the page: open to everybody where people sign in, since a browser that opens a page brings no token."""


@dataclass(frozen=True)
class Names:
    """The names of a stage. `template.yaml` and `app.py` make them; a test says that they are the same.

    Attributes:
        stage: of `.chalice/config.json`, like "dev".
        account: the account's number.
        region: like "us-east-1".
    """

    stage: str
    account: str
    region: str

    @property
    def prefix(self) -> str:
        """What the names begin with; also the name of the stack, the state machine and the REST function."""
        return f"{APP}-{self.stage}"

    @property
    def inbox_bucket(self) -> str:
        """Where pictures are dropped."""
        return f"{self.prefix}-inbox-{self.account}"

    @property
    def training_bucket(self) -> str:
        """What training makes, what endpoints capture, and what backfills come to."""
        return f"{self.prefix}-training-{self.account}"

    @property
    def records_table(self) -> str:
        """The records of classifications."""
        return f"{self.prefix}-records"

    @property
    def backfill(self) -> str:
        """The state machine for pictures that are there already; its role has the same name."""
        return f"{self.prefix}-backfill"

    @property
    def workflow_role(self) -> str:
        """The role of the state machine."""
        return f"{self.prefix}-workflow"

    @property
    def training_role(self) -> str:
        """The role that SageMaker works as."""
        return f"{self.prefix}-training"

    @property
    def alarms_topic(self) -> str:
        """Who is told of alarms."""
        return f"{self.prefix}-alarms"

    @property
    def held_back_topic(self) -> str:
        """Who is told of pictures that wait for a person."""
        return f"{self.prefix}-held-back"

    @property
    def lost_events(self) -> str:
        """The queue of events that a function could not deal with each time that it was tried."""
        return f"{self.prefix}-lost-events"

    @property
    def user_pool(self) -> str:
        """Who may sign in, where people do."""
        return self.prefix

    @property
    def sign_in(self) -> str:
        """Where they sign in."""
        return f"https://{self.prefix}-{self.account}.auth.{self.region}.amazoncognito.com"

    @property
    def state_machine_arn(self) -> str:
        """The workflow."""
        return self.machine_arn(self.prefix)

    @property
    def backfill_arn(self) -> str:
        """The state machine for pictures that are there already."""
        return self.machine_arn(self.backfill)

    @property
    def lost_events_arn(self) -> str:
        """The queue's ARN."""
        return self.arn("sqs", self.lost_events)

    def function(self, name: str) -> str:
        """The name that `chalice deploy` gives a function of `app.py`.

        Args:
            name: the function's short name, like "serialize".
        """
        return self.prefix if name == REST else f"{self.prefix}-{name}"

    def function_arn(self, name: str) -> str:
        """The ARN of a function of `app.py`."""
        return self.arn("lambda", f"function:{self.function(name)}")

    def rule(self, name: str) -> str:
        """The name that Chalice gives the rule of EventBridge that calls a function."""
        return f"{self.function(name)}-event"

    @property
    def machines(self) -> tuple[str, str]:
        """The state machines: the workflow and the backfill."""
        return self.prefix, self.backfill

    def machine_arn(self, machine: str) -> str:
        """The ARN of a state machine."""
        return self.arn("states", f"stateMachine:{machine}")

    def machine_log_group(self, machine: str) -> str:
        """Where a state machine logs."""
        return f"/aws/vendedlogs/states/{machine}"

    def api_url(self, identity: str, path: str) -> str:
        """The address of a REST API, with a slash at its end.

        Args:
            identity: its id, which is not known beforehand.
            path: the first part of its path, which is Chalice's stage.
        """
        return f"https://{identity}.execute-api.{self.region}.amazonaws.com/{path}/"

    def function_log_group(self, name: str) -> str:
        """Where a function logs."""
        return f"/aws/lambda/{self.function(name)}"

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something in this account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"
