"""
Endpoints as an ASGI application: who asks is found out, what is asked is read, and a handler answers in a thread.

    request --> weight --> endpoint --> who (cookie or signature) --> may they --> form --> handler --> JSON

Always true:
  - an endpoint has one access rule, which is checked before anything of the request is looked at; the handler is not called without
  - what changes something and comes with a cookie also brings the session's own token, and is JSON: no other site's page can send it
  - every answer is JSON; an error is {"code", "msg"}
  - at most THREADS handlers run at a time; the event loop waits for none of them
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NamedTuple, Protocol, cast, final
from urllib.parse import parse_qsl

import msgspec
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

from zerosum.console.access import Access, Anyone, OfKey, OfOperator, OfService, OfUser
from zerosum.console.machines import OutcomeUnknown
from zerosum.errors import ZerosumError
from zerosum.gateway.auth import NOBODY, verify, without_signature
from zerosum.gateway.entry import Busy
from zerosum.gateway.errors import ApiError
from zerosum.gateway.parameters import deadline_us, mandatory, of_rest
from zerosum.identity.attempts import TooManyAttempts
from zerosum.identity.documents import Changed, DocumentsFailed
from zerosum.identity.keyring import ApiKey, Unreadable
from zerosum.identity.keys import looks_like_a_key
from zerosum.identity.passwords import TooManyAtATime
from zerosum.identity.people import CodeNeeded, LoginRefused, People, Person
from zerosum.identity.sessions import Session, Sessions, is_csrf
from zerosum.net.address import client_address
from zerosum.net.sparing_log import SparingLog

THREADS: Final = 8
CSRF_HEADER: Final = "x-csrf-token"
BODY_BYTES_MAX: Final = 16_384
SAFE: Final = frozenset({"GET", "HEAD"})

OF_WHO_ASKS: Final = frozenset({401, 403, 429})
"""What whoever guards the exchange wants to know of: somebody asks who may not, or too often."""

_log: Final = SparingLog("console", lines_max=1, period_s=10.0)
_refusals: Final = SparingLog("console.refusals")


class Refused(ZerosumError):
    """What the client is told, with HTTP's status and a code of its own."""

    def __init__(self, status: int, code: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.headers = headers or {}


def bad_request(text: str) -> Refused:
    return Refused(400, -1100, text)


class Kind(NamedTuple):
    """An answer that is a refusal; of each request it is one of its own."""

    status: int
    code: int
    text: str

    def of(self, headers: dict[str, str] | None = None) -> Refused:
        return Refused(self.status, self.code, self.text, headers)


NOT_LOGGED_IN: Final = Kind(401, -2015, "Log in first.")
FORBIDDEN: Final = Kind(403, -2015, "This is not for you to ask.")
NOT_FOUND: Final = Kind(404, -1020, "This operation is not supported.")
WRONG_METHOD: Final = Kind(405, -1020, "This operation is not supported.")
NOT_THERE: Final = Kind(404, -2013, "There is none.")
NO_CSRF: Final = Kind(403, -1022, "The session's token is missing or wrong: send it in the header x-csrf-token.")
NOT_JSON: Final = Kind(415, -1100, "What is sent must be JSON: content-type application/json.")
TOO_LARGE: Final = Kind(413, -1100, "The request body is too large.")
BUSY: Final = Kind(503, -1008, "It can't be done now. Please try again.")
CHANGED: Final = Kind(409, -1008, "Somebody else has changed it meanwhile: look again.")
NOT_KNOWN: Final = Kind(504, -1007, "What became of it is not known: look, or ask again.")
BROKEN: Final = Kind(500, -1000, "An unknown error occurred while processing the request.")
NO_PASSWORD_OF_ONES_OWN: Final = Kind(403, -2017, "The password was set by somebody else: change it first.")
NO_SECOND_FACTOR: Final = Kind(403, -2017, "Operators have a second factor: set one up first.")
NO_SECOND_FACTOR_YET: Final = Kind(403, -2017, "Who takes money out has a second factor: set one up first.")


@dataclass(slots=True)
class Asked:
    """A request whose sender may ask for it. `form`: as the endpoint says. `parts`: of the path."""

    client: str
    agent: str
    form: Any
    parts: dict[str, Any]
    person: Person | None = None
    session: Session | None = None
    token: str = ""
    key: ApiKey | None = None

    @property
    def who(self) -> Person:
        assert self.person is not None, "the endpoint is for somebody who has logged in"
        return self.person

    @property
    def by(self) -> str:
        """For the trail."""
        if self.person is not None:
            return self.person.name
        return f"key {self.program.api_key[:8]}"

    @property
    def program(self) -> ApiKey:
        assert self.key is not None, "the endpoint is for a program with a key"
        return self.key


@dataclass(slots=True)
class Answered:
    """`begin`: a session's token for the cookie; `end`: take it away."""

    body: Any = None
    status: int = 200
    begin: str = ""
    end: bool = False


class Empty(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing is asked for."""


NUMBER_MAX: Final = (1 << 63) - 1
Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
"""What fits a record's word."""


class NumberConvertor(Convertor[int]):
    """A part of a path, as `{name:number}`: what is longer than any number that fits is no such part."""

    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        return int(value)


register_url_convertor("number", NumberConvertor())


Handler = Callable[[Asked], "Answered | Any"]


@final
@dataclass(frozen=True, slots=True)
class Endpoint:
    """`weight`: what it takes of the allowance of an address. `form`: of the body, or of the query of a GET."""

    method: str
    path: str
    run: Handler
    access: Access
    form: type[msgspec.Struct] = Empty
    weight: int = 1


class Limits(Protocol):
    def use_weight(self, client: str, weight: int, now_us: int) -> int: ...

    def check_weight(self, client: str, used: int, now_us: int) -> None:
        """ApiError."""


class KeyFinder(Protocol):
    def find(self, api_key: str, now_us: int) -> ApiKey | None: ...


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """How it is found out who asks. `cookie`: its name, without what TLS adds to it."""

    people: People
    sessions: Sessions
    cookie: str
    keys: KeyFinder | None = None
    trusted_proxies: frozenset[str] = field(default_factory=frozenset)

    def cookie_name(self, secure: bool) -> str:
        return f"__Host-{self.cookie}" if secure else self.cookie


@final
class Console:
    """Made in the event loop that it is served in; `limits` is asked there."""

    def __init__(self, endpoints: Sequence[Endpoint], doorkeeper: Doorkeeper, limits: Limits) -> None:
        self.endpoints = tuple(endpoints)
        self._doorkeeper = doorkeeper
        self._limits = limits
        self._executor = ThreadPoolExecutor(THREADS, "console")
        by_path: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            assert endpoint.method not in by_path.setdefault(endpoint.path, {}), "an endpoint stands once"
            by_path[endpoint.path][endpoint.method] = endpoint
        self.app = Starlette(routes=[Route(path, self._endpoint(methods), methods=ALL_METHODS) for path, methods in by_path.items()])
        self.app.router.redirect_slashes = False
        self.app.add_exception_handler(404, not_found)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """As an ASGI application, which answers also when its server stops and has waited for long enough."""
        began = False

        async def noted(message: Any) -> None:
            nonlocal began
            began = True
            await send(message)

        words = cast("Any", scope), cast("Any", receive)  # ASGI in uvicorn's types; in Starlette's it is another
        try:
            await self.app(*words, noted)
        except asyncio.CancelledError:
            if not began:
                await response(NOT_KNOWN.status, {"code": NOT_KNOWN.code, "msg": NOT_KNOWN.text})(*words, cast("Any", send))

    def _endpoint(self, methods: dict[str, Endpoint]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            try:
                return await self._serve(request, methods)
            except Refused as refused:
                if refused.status in OF_WHO_ASKS:
                    _refusals.warning(
                        "console.refused", status=refused.status, code=refused.code, client=self._client(request),
                        console=self._doorkeeper.cookie, method=request.method, path=request.url.path,
                    )  # fmt: skip
                return response(refused.status, {"code": refused.code, "msg": str(refused)}, refused.headers)

        return serve

    async def _serve(self, request: Request, methods: dict[str, Endpoint]) -> Response:
        endpoint = methods.get(request.method)
        client = self._client(request)
        self._charge(client, endpoint.weight if endpoint is not None else 1)
        if endpoint is None:
            raise WRONG_METHOD.of({"allow": ", ".join(methods)})
        if any(isinstance(part, int) and part > NUMBER_MAX for part in request.path_params.values()):
            raise NOT_FOUND.of()
        body = await request.body()
        if len(body) > BODY_BYTES_MAX:
            raise TOO_LARGE.of()
        answered = await asyncio.get_running_loop().run_in_executor(self._executor, self._in_thread, request, endpoint, client, body)
        return self._response(request, answered)

    def _client(self, request: Request) -> str:
        peer = request.client.host if request.client is not None else ""
        return client_address(peer, request.headers.getlist("x-forwarded-for"), self._doorkeeper.trusted_proxies)

    def _charge(self, client: str, weight: int) -> None:
        now_us = time.time_ns() // 1_000
        try:
            self._limits.check_weight(client, self._limits.use_weight(client, weight, now_us), now_us)
        except ApiError as error:
            headers = {name.decode(): value.decode() for name, value in error.headers}
            raise Refused(error.status, error.code, error.msg, headers) from error

    # ------------------------------------------------------------------ in a thread

    def _in_thread(self, request: Request, endpoint: Endpoint, client: str, body: bytes) -> Answered:
        """Refused."""
        try:
            asked = self._admitted(request, endpoint.access, client, body)
            asked.form = form_of(endpoint, request, body)
            answer = endpoint.run(asked)
        except Refused:
            raise
        except (LoginRefused, CodeNeeded) as error:
            raise Refused(401, -2015 if isinstance(error, LoginRefused) else -2016, str(error)) from error
        except TooManyAttempts as error:
            raise Refused(429, -1003, str(error), {"retry-after": str(error.retry_s)}) from error
        except (TooManyAtATime, DocumentsFailed, Busy, Unreadable) as error:
            _log.warning("console.busy", error=str(error))
            raise BUSY.of() from error
        except Changed as error:
            raise CHANGED.of() from error
        except OutcomeUnknown as error:
            raise NOT_KNOWN.of() from error
        except ApiError as error:
            raise Refused(error.status, error.code, error.msg) from error
        except ZerosumError as error:  # of identity: what was asked for makes no sense, and says why
            raise bad_request(str(error)) from error
        except Exception as error:
            _log.error("request.failed", exc_info=True, path=endpoint.path)
            raise BROKEN.of() from error
        return answer if isinstance(answer, Answered) else Answered(answer)

    def _admitted(self, request: Request, access: Access, client: str, body: bytes) -> Asked:
        asked = Asked(client, request.headers.get("user-agent", ""), None, dict(request.path_params))
        if isinstance(access, Anyone):
            return asked
        if isinstance(access, OfService | OfKey):
            asked.key = self._key(request, access, client, body)
            return asked
        token = cookie_of(request, self._doorkeeper.cookie_name(is_secure(request, self._doorkeeper.trusted_proxies)))
        session = self._doorkeeper.sessions.found(token) if token else None
        person = self._doorkeeper.people.get(session.person) if session is not None else None
        if session is None or person is None or not person.active:
            raise NOT_LOGGED_IN.of()
        if request.method not in SAFE and not is_csrf(token, request.headers.get(CSRF_HEADER, "")):
            raise NO_CSRF.of()
        asked.person, asked.session, asked.token = person, session, token
        if isinstance(access, OfOperator) and not access.roles & set(person.roles):
            raise FORBIDDEN.of()
        if not access.unready:
            check_ready(person, access)
        return asked

    def _key(self, request: Request, access: OfService | OfKey, client: str, body: bytes) -> ApiKey:
        """
        A program's. What is signed is of a user's query and body, as the exchange's own API has it; of the venue's method and path, the
        query without the signature, and the body, a line each.
        """
        api_key = request.headers.get("x-mbx-apikey", "")
        query = request.scope["query_string"]
        now_us = time.time_ns() // 1_000
        found = self._doorkeeper.keys.find(api_key, now_us) if self._doorkeeper.keys is not None and looks_like_a_key(api_key) else None
        if isinstance(access, OfKey):
            params = of_rest(query, body)
            payload = without_signature(query) + without_signature(body)
        else:
            params = of_rest(query, b"")
            path: bytes = request.scope["raw_path"]  # as it was sent, escapes and all
            payload = b"\n".join((request.method.encode() + b" " + path, without_signature(query), body))
        verify(found if found is not None else NOBODY, payload, mandatory(params, "signature"))
        assert found is not None, "nobody has signed nothing"
        deadline_us(params, now_us)
        if access.permission not in found.permissions or not found.is_good_from(client):
            raise FORBIDDEN.of()
        return found

    # ------------------------------------------------------------------ answers

    def _response(self, request: Request, answered: Answered) -> Response:
        made = response(answered.status, answered.body)
        secure = is_secure(request, self._doorkeeper.trusted_proxies)
        name = self._doorkeeper.cookie_name(secure)
        if answered.begin:
            made.set_cookie(name, answered.begin, path="/", secure=secure, httponly=True, samesite="strict")
        if answered.end:
            made.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="strict")
        return made


ALL_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def check_ready(person: Person, access: OfUser | OfOperator) -> None:
    """Refused, with what is to be done first."""
    if person.must_change:
        raise NO_PASSWORD_OF_ONES_OWN.of()
    if isinstance(access, OfOperator) and not person.has_second_factor:
        raise NO_SECOND_FACTOR.of()


def form_of(endpoint: Endpoint, request: Request, body: bytes) -> Any:
    """Refused, with the member that is wrong."""
    try:
        if isinstance(endpoint.access, OfKey):
            params = of_rest(request.scope["query_string"], body)
            return msgspec.convert({name: value for name, value in params.items() if name not in SIGNED}, endpoint.form, strict=False)
        if endpoint.method in SAFE or (isinstance(endpoint.access, OfService) and not body):
            pairs = parse_qsl(request.scope["query_string"].decode("ascii"), keep_blank_values=True)
            sent = {name: value for name, value in pairs if not (isinstance(endpoint.access, OfService) and name in SIGNED)}
            if len(sent) < sum(name in sent for name, _ in pairs):
                raise bad_request("A parameter is there twice.")
            return msgspec.convert(sent, endpoint.form, strict=False)
        if endpoint.form is Empty and not body:
            return Empty()
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise NOT_JSON.of()
        return msgspec.json.decode(body, type=endpoint.form)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"What was sent is not right: {error}.") from error


SIGNED: Final = frozenset({"timestamp", "recvWindow", "signature"})


def cookie_of(request: Request, name: str) -> str:
    """Of several of that name none: one of them somebody else has put there."""
    found = []
    for header in request.headers.getlist("cookie"):
        for part in header.split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                found.append(value)
    return found[0] if len(found) == 1 else ""


def is_secure(request: Request, trusted_proxies: frozenset[str]) -> bool:
    """Whether the client speaks TLS, with us or with a proxy of ours."""
    if request.url.scheme == "https":
        return True
    peer = request.client.host if request.client is not None else ""
    return peer in trusted_proxies and request.headers.get("x-forwarded-proto", "") == "https"


def response(status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body if body is not None else {}), status, headers, "application/json;charset=UTF-8")


async def not_found(request: Request, error: Exception) -> Response:
    return response(NOT_FOUND.status, {"code": NOT_FOUND.code, "msg": NOT_FOUND.text})
