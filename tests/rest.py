"""The REST API as tests of its deployment know it."""

ROUTES = {
    "GET /",
    "GET /assets/{name}",
    "GET /health",
    "GET /openapi.json",
    "POST /classifications",
    "GET /classifications",
    "GET /classifications/{identity}",
    "GET /classifications/{identity}/picture",
    "PUT /classifications/{identity}/review",
    "DELETE /classifications/{identity}/review",
    "POST /classifications/{identity}/attempts",
    "POST /uploads",
    "GET /overview",
}
"""What the REST API has, by method and path."""

PICTURES = {"image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff"}
"""What pictures come as; what API Gateway does not know as binary, it takes for text, and breaks."""

POOL = {
    "USER_POOL_ARN": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_a1B2c3",
    "USER_POOL_CLIENT_ID": "1example23456789",
    "USER_POOL_DOMAIN": "https://scones.auth.us-east-1.amazoncognito.com",
}
"""What a stage has where people sign in."""
