"""The page on this machine, before a REST API that works each signature out again."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infrastructure import page, signing
from infrastructure.errors import InputError
from infrastructure.page import Server
from tests.infrastructure.signed import KEY, REGION, SECRET, TOKEN, Gateway, gateway, refusal

PICTURE = bytes(range(256)) * 20


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)


@pytest.fixture
def behind() -> Iterator[Gateway]:
    with gateway() as made:
        yield made


LINES: list[str] = []


@pytest.fixture
def served(behind: Gateway) -> Iterator[Server]:
    LINES.clear()
    with page.serving(behind.url, REGION, 0, LINES.append) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def browser(served: Server) -> Iterator[httpx.Client]:
    """One that has opened the address that was printed."""
    with httpx.Client(base_url=f"http://127.0.0.1:{served.server_port}") as client:
        assert client.get(served.address).headers["Location"] == "/api/"
        yield client


def test_a_request_is_signed_and_passed_on_and_its_answer_comes_back(browser: httpx.Client, behind: Gateway) -> None:
    behind.answers["/api/classifications/1"] = (200, {"Content-Type": "application/json", "ETag": '"e"'}, b'{"a": 1}')
    answer = browser.get("/api/classifications/1", headers={"If-None-Match": '"old"', "Accept": "application/json"})
    assert (answer.status_code, answer.json(), answer.headers["ETag"]) == (200, {"a": 1}, '"e"')
    (got,) = behind.got
    assert (got.method, got.target) == ("GET", "/api/classifications/1")
    assert (got.headers["If-None-Match"], got.headers["Accept"]) == ('"old"', "application/json")


def test_a_picture_goes_out_and_comes_in_byte_for_byte(browser: httpx.Client, behind: Gateway) -> None:
    behind.answers["/api/classifications"] = (202, {"Content-Type": "image/png", "Location": "/api/a"}, PICTURE)
    headers = {"Content-Type": "image/png", "Idempotency-Key": "k", "Prefer": "wait=5"}
    answer = browser.post("/api/classifications", content=PICTURE, headers=headers)
    assert (answer.status_code, answer.content, answer.headers["Location"]) == (202, PICTURE, "/api/a")
    (got,) = behind.got
    assert got.body == PICTURE
    assert {name: got.headers[name] for name in headers} == headers


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_every_method_of_the_api_is_signed(method: str, browser: httpx.Client, behind: Gateway) -> None:
    assert browser.request(method, "/api/classifications/1/review").text == "well"
    assert [one.method for one in behind.got] == [method]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("/api/classifications?status=REVIEW&limit=5", "/api/classifications?status=REVIEW&limit=5"),
        ("/api/classifications?after=a+b&empty=", "/api/classifications?after=a%20b&empty="),
        ("/api/classifications?after=a%2Fb%3D%3D*(!)", "/api/classifications?after=a%2Fb%3D%3D%2A%28%21%29"),
        ("/api/classifications?b=2&a=1&a=0", "/api/classifications?b=2&a=1&a=0"),
        ("/api/assets/%6dain.js", "/api/assets/main.js"),
        ("/api/classifications/%C3%A9%20x", "/api/classifications/%C3%A9%20x"),
    ],
)
def test_what_a_browser_writes_is_signed_as_aws_reads_it(
    asked: str, sent: str, served: Server, browser: httpx.Client, behind: Gateway
) -> None:
    assert raw(served, "GET", asked, Cookie=cookie(browser))[0] == 200
    assert [one.target for one in behind.got] == [sent]
    assert behind.refused == 0


def test_nothing_of_this_machine_goes_out_that_the_api_does_not_read(browser: httpx.Client, behind: Gateway) -> None:
    browser.get("/api/", headers={"Referer": "http://127.0.0.1/", "X-Forwarded-For": "10.0.0.1", "Authorization": "x"})
    (got,) = behind.got
    assert {name.lower() for name in got.headers} <= {
        "accept",
        "accept-encoding",
        "authorization",
        "host",
        "user-agent",
        "x-amz-date",
        "x-amz-security-token",
    }
    assert got.headers["Authorization"].startswith("AWS4-HMAC-SHA256")
    assert got.headers["Accept-Encoding"] == "identity"
    assert got.headers["User-Agent"].startswith("python-urllib3")


def test_a_redirect_to_a_picture_is_the_browsers_to_follow(browser: httpx.Client, behind: Gateway) -> None:
    signed = "https://bucket.s3.amazonaws.com/inbox/a.png?X-Amz-Signature=1"
    behind.answers["/api/classifications/1/picture"] = (302, {"Location": signed}, b"")
    answer = browser.get("/api/classifications/1/picture", follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, signed)


def test_what_has_not_changed_has_no_body(browser: httpx.Client, behind: Gateway) -> None:
    behind.answers["/api/classifications/1"] = (304, {"ETag": '"e"'}, b"")
    answer = browser.get("/api/classifications/1")
    assert (answer.status_code, answer.content, "Content-Length" in answer.headers) == (304, b"", False)


def test_the_page_keeps_its_own_headers_and_those_between_machines_stay_there(
    browser: httpx.Client, behind: Gateway
) -> None:
    headers = {"Content-Security-Policy": "default-src 'none'", "Set-Cookie": "a=1", "Strict-Transport-Security": "x"}
    behind.answers["/api/"] = (200, headers | {"Content-Type": "text/html"}, b"<p>")
    answer = browser.get("/api/")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'"
    assert not {"Set-Cookie", "Strict-Transport-Security"} & set(answer.headers)


def test_the_root_leads_to_the_page_and_nothing_beside_it_is_asked(browser: httpx.Client, behind: Gateway) -> None:
    assert browser.get("/", follow_redirects=False).headers["Location"] == "/api/"
    assert browser.get("/other/").status_code == 404
    assert behind.got == []


@pytest.mark.parametrize("path", ["/api/../other/", "/api/%2e%2e/other/", "/api/./health"])
def test_no_path_leads_out_of_the_stage(path: str, served: Server, browser: httpx.Client, behind: Gateway) -> None:
    assert raw(served, "GET", path, Cookie=cookie(browser))[0] == 404
    assert behind.got == []


# Who is let in


def raw(server: Server, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """An answer to a request as it is, with nothing made proper on the way."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body or None, named)
    answer = connection.getresponse()
    found = answer.status, dict(answer.headers), answer.read()
    connection.close()
    return found


def cookie(browser: httpx.Client) -> str:
    ((name, value),) = browser.cookies.items()
    return f"{name}={value}"


@pytest.mark.parametrize("host", ["evil.example.org", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example.org", ""])
def test_a_name_that_others_have_made_lead_here_is_refused(
    host: str, served: Server, browser: httpx.Client, behind: Gateway
) -> None:
    status, headers, body = raw(served, "GET", "/api/", Cookie=cookie(browser), Host=host)
    assert (status, headers["Content-Type"]) == (403, "application/problem+json")
    assert "This server is only called 127.0.0.1:" in json.loads(body)["detail"]
    assert behind.got == []


def test_it_may_be_called_localhost_too(served: Server, browser: httpx.Client) -> None:
    own = f"localhost:{served.server_port}"
    assert raw(served, "GET", "/api/", Cookie=cookie(browser), Host=own)[0] == 200
    assert raw(served, "PUT", "/api/", Cookie=cookie(browser), Host=own, Origin=f"http://{own}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.org"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_no_other_site_may_change_anything(
    method: str, headers: dict[str, str], browser: httpx.Client, behind: Gateway
) -> None:
    answer = browser.request(method, "/api/classifications/1/review", headers=headers)
    assert (answer.status_code, behind.got) == (403, [])
    assert answer.json()["detail"] == "Another site asked for this, and is not listened to."


def test_cookies_of_other_servers_of_this_machine_do_not_matter(served: Server, browser: httpx.Client) -> None:
    assert raw(served, "GET", "/api/", Cookie=f'a={{"b": [1]}}; {cookie(browser)}; =;')[0] == 200


def test_the_page_itself_may(served: Server, browser: httpx.Client) -> None:
    own = {"Origin": f"http://127.0.0.1:{served.server_port}", "Sec-Fetch-Site": "same-origin"}
    assert browser.put("/api/classifications/1/review", headers=own).status_code == 200


@pytest.mark.parametrize("shown", [{}, {"Cookie": "page-1=a; other"}, {"Cookie": "no cookie at all="}])
def test_whoever_does_not_know_the_key_is_told_where_to_look(
    shown: dict[str, str], served: Server, behind: Gateway
) -> None:
    status, _, body = raw(served, "GET", "/api/", b"", **shown)
    assert (status, behind.got) == (403, [])
    assert "python -m infrastructure page" in json.loads(body)["detail"]
    assert raw(served, "GET", "/?key=wrong")[0] == raw(served, "GET", "/api/?key=" + served.key)[0] == 403


def test_the_key_stays_with_the_browser_where_no_script_and_no_other_site_gets_it(served: Server) -> None:
    _, headers, _ = raw(served, "GET", f"/?key={served.key}")
    name, _, rest = headers["Set-Cookie"].partition("=")
    assert name == f"page-{served.server_port}"
    assert rest.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Strict"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert served.key not in headers["Set-Cookie"]


def test_the_key_lets_in_one_browser_once(served: Server, browser: httpx.Client) -> None:
    assert raw(served, "GET", f"/?key={served.key}")[0] == 403
    again = browser.get(served.address, follow_redirects=False)
    assert again.headers["Location"] == "/api/", "for whoever was let in, it is the page's address"


def test_it_listens_on_this_machine_alone(served: Server) -> None:
    assert served.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Transfer_Encoding": "chunked"}, 411), ({"Content_Length": "x"}, 411), ({"Content_Length": "10485761"}, 413)],
)
def test_a_body_that_the_api_would_not_take_is_refused(
    headers: dict[str, str], status: int, served: Server, browser: httpx.Client, behind: Gateway
) -> None:
    with socket.create_connection(("127.0.0.1", served.server_port), timeout=10) as connection:
        lines = {"Host": f"127.0.0.1:{served.server_port}", "Cookie": cookie(browser), **headers}
        text = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"POST /api/classifications HTTP/1.1\r\n{text}\r\n".encode())
        assert connection.makefile("rb").readline().split()[1] == str(status).encode()
    assert behind.got == []


# What is told


def test_each_request_is_a_line_that_tells_no_key(browser: httpx.Client, served: Server) -> None:
    browser.get("/api/classifications?status=REVIEW")
    first, second = LINES
    assert first.split()[1:4] == ["GET", "/", "303"]
    assert second.split()[1:4] == ["GET", "/api/classifications", "200"]
    assert second.endswith(" ms")
    assert served.key not in "".join(LINES)


def test_a_line_holds_nothing_that_a_terminal_would_obey(served: Server, browser: httpx.Client) -> None:
    raw(served, "GET", "/api/%1b[2J", Cookie=cookie(browser))
    assert "/api/%1B%5B2J" in LINES[-1]


@pytest.mark.parametrize(
    ("kind", "message", "detail"),
    [
        (
            "ExpiredTokenException",
            "The security token included in the request is expired",
            "AWS does not take your credentials: they have expired, or were revoked. Sign in again where you run this",
        ),
        (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            "AWS does not take your credentials",
        ),
        ("InvalidSignatureException", "Signature expired: 1 is now earlier than 2", "Is this machine's clock right?"),
        (
            "AccessDeniedException",
            "User: arn:aws:iam::1:user/me is not authorized to perform: execute-api:Invoke on resource: x",
            "Your credentials may not use this API: ask for execute-api:Invoke. User: arn:aws:iam::1:user/me",
        ),
        ("InternalServerErrorException", "Endpoint request timed out", "API Gateway: Endpoint request timed out"),
    ],
)
def test_what_api_gateway_refuses_is_told_in_the_shape_of_the_api(
    kind: str, message: str, detail: str, browser: httpx.Client, behind: Gateway
) -> None:
    behind.answers["/api/overview"] = refusal(kind, message)
    answer = browser.get("/api/overview")
    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")
    told = answer.json()
    assert told.keys() == {"type", "title", "status", "detail"}
    assert detail in told["detail"]


def test_a_route_that_is_not_there_is_told_so(browser: httpx.Client, behind: Gateway) -> None:
    behind.answers["/api/none"] = refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
    answer = browser.get("/api/none")
    assert (answer.status_code, answer.json()["detail"]) == (404, "The API has no such route.")


def test_a_problem_of_the_app_comes_through_as_it_is(browser: httpx.Client, behind: Gateway) -> None:
    body = b'{"type": "about:blank", "title": "t", "status": 412, "detail": "d"}'
    behind.answers["/api/classifications/1/review"] = (412, {"Content-Type": "application/problem+json"}, body)
    answer = browser.put("/api/classifications/1/review")
    assert (answer.status_code, answer.content) == (412, body)


def test_new_credentials_are_taken_once_the_old_ones_have_expired(
    browser: httpx.Client, behind: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind.answers["/api/overview"] = refusal("ExpiredTokenException", "The security token included is expired")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    assert browser.get("/api/overview").status_code == 403
    del behind.answers["/api/overview"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ANOTHER")
    assert "clock" in browser.get("/api/overview").json()["detail"], "signed by another key"
    assert behind.refused == 1


def test_without_credentials_that_is_told(
    browser: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, behind: Gateway
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    answer = browser.get("/api/")
    assert answer.status_code == 502
    assert answer.json()["detail"].startswith("There are no AWS credentials. Run `aws configure`")


def test_a_sign_in_that_has_run_out_is_told(
    browser: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[profile out]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n"
        "[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.org\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "out")
    monkeypatch.setenv("HOME", str(tmp_path))
    answer = browser.get("/api/")
    assert answer.status_code == 502
    assert "sso" in answer.json()["detail"].lower()
    assert "Sign in again" in answer.json()["detail"]


def test_an_api_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    answer = signing.Api(f"http://127.0.0.1:{port}/api/", REGION).ask("GET", "/api/", {}, b"")
    assert answer.status == 502
    assert "AWS cannot be reached" in json.loads(answer.body)["detail"]


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(InputError, match=f"Port {port} is not to be had: .* Leave --port out"),
            page.serving("https://a/api/", REGION, port, print),
        ):
            pass
