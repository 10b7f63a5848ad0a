"""People who log in: who does not know the password learns nothing, and a code is good once."""

from __future__ import annotations

import base64
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
from argon2 import PasswordHasher

from zerosum.identity import attempts as attempts_module
from zerosum.identity import passwords as passwords_module
from zerosum.identity import totp
from zerosum.identity.attempts import ADDRESS_MAX, NAME_MAX, PAIR_MAX, USER_ATTEMPTS, WINDOW_S, Attempts, TooManyAttempts
from zerosum.identity.identities import Identities
from zerosum.identity.passwords import CHARS_MAX, Passwords, TooManyAtATime, WeakPassword, check_strength
from zerosum.identity.people import OPERATORS, USERS, CodeNeeded, LoginRefused, People, PeopleError
from zerosum.identity.sessions import IDLE_S, LIVES_S, NOTED_S, SESSIONS_MAX, USER_SESSIONS, Sessions, csrf_of, is_csrf

PASSWORD = "orbit-lantern-velvet-31"
HERE = "10.0.0.1"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(QUICK)


@pytest.fixture
def attempts(identities: Identities, clock: Clock) -> Attempts:
    return Attempts(identities.vault, USER_ATTEMPTS, clock)


@pytest.fixture
def users(identities: Identities, passwords: Passwords, attempts: Attempts, clock: Clock) -> People:
    return People(identities.vault, USERS, passwords, attempts, clock)


@pytest.fixture
def operators(identities: Identities, passwords: Passwords, attempts: Attempts, clock: Clock) -> People:
    return People(identities.vault, OPERATORS, passwords, attempts, clock)


@pytest.fixture
def sessions(identities: Identities, clock: Clock) -> Sessions:
    return Sessions(identities.vault, USER_SESSIONS, clock)


def with_second_factor(people: People, name: str, clock: Clock) -> tuple[bytes, list[str]]:
    """Its secret, and the codes to keep."""
    uri = urlsplit(people.begin_second_factor(name))
    text = parse_qs(uri.query)["secret"][0]
    secret = base64.b32decode(text + "=" * (-len(text) % 8))
    codes = people.confirm_second_factor(name, totp.code_at(secret, int(clock.now_s)))
    clock.now_s += totp.STEP_S
    return secret, codes


# ---------------------------------------------------------------------- passwords


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "it has 5 characters; 12 to 128"),
        ("x" * 129, "it has 129 characters"),
        ("password1234", "guessed early"),
        ("qwertyuiop12", "guessed early"),
        ("aaaaaaaaaaaaaaaa", "guessed early"),
        ("zerosumzerosum", "guessed early"),
        ("annabelle1987", "guessed early"),
    ],
)
def test_a_weak_password_is_refused(password: str, why: str) -> None:
    with pytest.raises(WeakPassword, match=why) as refused:
        check_strength(password, "annabelle")
    assert password not in str(refused.value)


@pytest.mark.parametrize("password", [PASSWORD, "correct horse battery staple", "пароль-которого-нет-7", "x9$Kq!v2Lp#w"])
def test_a_good_one_is_taken_whatever_it_is_made_of(password: str) -> None:
    check_strength(password, "annabelle")


def test_the_hash_is_argon2id_with_64_mib_and_never_alike() -> None:
    real = Passwords()
    first, second = real.hashed(PASSWORD), real.hashed(PASSWORD)
    assert first != second
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert real.matches(first, PASSWORD)
    assert not real.matches(first, PASSWORD + "x")
    assert not real.matches("nonsense", PASSWORD)
    longest = "x" * CHARS_MAX
    assert real.matches(real.hashed(longest), longest)
    assert not real.matches(real.hashed(longest), longest + "x"), "nothing of it is left out"
    assert real.is_outdated(QUICK.hash(PASSWORD))


def test_so_many_passwords_at_a_time_and_more_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords_module, "WAIT_S", 60.0)
    entered, leave = threading.Semaphore(0), threading.Event()

    class Slow(PasswordHasher):
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            entered.release()
            assert leave.wait(60)
            return "hashed"

    slow = Passwords.__new__(Passwords)
    Passwords.__init__(slow, QUICK)
    slow._hasher = Slow(time_cost=1, memory_cost=8, parallelism=1)
    done: list[str] = []
    most = passwords_module.AT_A_TIME + passwords_module.WAITING_MAX
    threads = [threading.Thread(target=lambda: done.append(slow.hashed("x"))) for _ in range(most)]
    for thread in threads:
        thread.start()
    for _ in range(passwords_module.AT_A_TIME):
        assert entered.acquire(timeout=60)
    for _ in range(1_000):
        if slow._places._value == 0:
            break
        leave.wait(0.01)
    with pytest.raises(TooManyAtATime):
        slow.hashed("x")
    assert not entered.acquire(blocking=False), "no more than that at a time"
    leave.set()
    for thread in threads:
        thread.join()
    assert len(done) == most


# ---------------------------------------------------------------------- logging in


def test_who_knows_the_password_is_let_in(users: People) -> None:
    users.create("ann", PASSWORD, account_id=1001)
    person = users.log_in("ann", PASSWORD, "", HERE)
    assert (person.name, person.account_id, person.roles, person.has_second_factor) == ("ann", 1001, (), False)


def test_whoever_is_not_hears_the_same_whatever_was_wrong(users: People, operators: People, clock: Clock) -> None:
    users.create("ann", PASSWORD, account_id=1001)
    users.create("gone", PASSWORD, account_id=1002)
    users.set_active("gone", False)
    users.create("bob", PASSWORD, account_id=1003)
    with_second_factor(users, "bob", clock)
    said = set()
    for name, password, code in (
        ("ann", PASSWORD + "x", ""),
        ("ann", "", ""),
        ("nobody", PASSWORD, ""),
        ("gone", PASSWORD, ""),
        ("bob", PASSWORD, "000000"),
        ("bob", "wrong", "000000"),
        ("bob", "wrong", ""),
        ("ann\n", PASSWORD, ""),
        ("x" * 10_000, PASSWORD, ""),
        ("\udcff", PASSWORD, ""),
    ):
        with pytest.raises(LoginRefused) as refused:
            users.log_in(name, password, code, HERE)
        said.add(str(refused.value))
        clock.now_s += WINDOW_S
    with pytest.raises(LoginRefused):
        operators.log_in("ann", PASSWORD, "", HERE)
    assert len(said) == 1


def test_as_much_work_is_done_for_a_person_who_does_not_exist(users: People, passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    matches = passwords.matches

    def noted(known: str, password: str) -> bool:
        checked.append(known)
        return matches(known, password)

    monkeypatch.setattr(passwords, "matches", noted)
    users.create("ann", PASSWORD)
    for name in ("ann", "nobody", "NOBODY"):
        with pytest.raises(LoginRefused):
            users.log_in(name, "wrong", "", HERE)
    assert len(checked) == 3
    assert checked[1] == checked[2] == passwords.nobody


def test_a_code_is_asked_for_good_once_and_none_of_an_earlier_step_after_it(users: People, clock: Clock) -> None:
    users.create("ann", PASSWORD)
    secret, _ = with_second_factor(users, "ann", clock)
    with pytest.raises(CodeNeeded):
        users.log_in("ann", PASSWORD, "", HERE)
    earlier, now = (totp.code_at(secret, int(clock.now_s) - ago) for ago in (totp.STEP_S, 0))
    assert users.log_in("ann", PASSWORD, now, HERE).has_second_factor
    for code in (now, earlier, "12345", "1234567", "\uff11\uff12\uff13\uff14\uff15\uff16", ""):
        with pytest.raises((LoginRefused, CodeNeeded)):
            users.log_in("ann", PASSWORD, code, HERE)
    clock.now_s += 10 * totp.STEP_S
    with pytest.raises(LoginRefused):
        users.log_in("ann", PASSWORD, totp.code_at(secret, int(clock.now_s) - 2 * totp.STEP_S), HERE)
    users.log_in("ann", PASSWORD, totp.code_at(secret, int(clock.now_s) + totp.STEP_S), HERE)


def test_of_two_who_send_the_same_code_at_a_time_one_is_refused(users: People, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    users.create("ann", PASSWORD)
    secret, _ = with_second_factor(users, "ann", clock)
    code = totp.code_at(secret, int(clock.now_s))
    step_of = totp.step_of
    let_in: list[str] = []

    def overtaken(*arguments: object) -> int | None:
        monkeypatch.setattr(totp, "step_of", step_of)
        let_in.append(users.log_in("ann", PASSWORD, code, HERE).name)
        return step_of(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(totp, "step_of", overtaken)
    with pytest.raises(LoginRefused):
        users.log_in("ann", PASSWORD, code, HERE)
    assert let_in == ["ann"]


def test_a_code_that_was_kept_stands_in_once(users: People, clock: Clock) -> None:
    users.create("ann", PASSWORD)
    _, codes = with_second_factor(users, "ann", clock)
    assert len(set(codes)) == 8
    users.log_in("ann", PASSWORD, codes[3].upper(), HERE)
    with pytest.raises(LoginRefused):
        users.log_in("ann", PASSWORD, codes[3], HERE)
    users.log_in("ann", PASSWORD, codes[4], HERE)
    users.remove_second_factor("ann")
    users.log_in("ann", PASSWORD, "", HERE)


def test_a_second_factor_counts_once_a_code_of_it_was_shown(users: People, clock: Clock) -> None:
    users.create("ann", PASSWORD)
    with pytest.raises(PeopleError, match="no second factor is being set up"):
        users.confirm_second_factor("ann", "123456")
    users.begin_second_factor("ann")
    with pytest.raises(PeopleError, match="not the one that the application shows"):
        users.confirm_second_factor("ann", "12345x")
    assert not users.log_in("ann", PASSWORD, "", HERE).has_second_factor


def test_the_codes_are_those_of_the_standard() -> None:
    """RFC 6238, appendix B, its last six digits."""
    secret = b"12345678901234567890"
    for now_s, code in ((59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")):
        assert totp.code_at(secret, now_s) == code


# ---------------------------------------------------------------------- guessing


def test_guessing_a_password_ends_and_begins_again_with_the_next_window(users: People, clock: Clock) -> None:
    users.create("ann", PASSWORD)
    for name in ("ann", "nobody"):
        for _ in range(PAIR_MAX):
            with pytest.raises(LoginRefused):
                users.log_in(name, "wrong", "", HERE)
        with pytest.raises(TooManyAttempts) as refused:
            users.log_in(name, PASSWORD, "", HERE)
        assert 0 < refused.value.retry_s <= WINDOW_S
    users.log_in("ann", PASSWORD, "", "10.0.0.2")
    clock.now_s += WINDOW_S
    users.log_in("ann", PASSWORD, "", HERE)


def test_from_many_addresses_it_ends_as_well_on_all_gateways(
    users: People, identities: Identities, passwords: Passwords, clock: Clock
) -> None:
    users.create("ann", PASSWORD)
    other = People(identities.vault, USERS, passwords, Attempts(identities.vault, USER_ATTEMPTS, clock), clock)
    for number in range(NAME_MAX):
        with pytest.raises(LoginRefused):
            (users, other)[number % 2].log_in("ann", "wrong", "", f"10.0.0.{number}")
    for gateway in (users, other):
        with pytest.raises(TooManyAttempts):
            gateway.log_in("ann", PASSWORD, "", "10.0.1.1")


def test_an_address_may_try_so_many_names(users: People, attempts: Attempts) -> None:
    users.create("ann", PASSWORD)
    network = "2001:db8:1:2:"
    for number in range(ADDRESS_MAX):
        with pytest.raises(LoginRefused):
            users.log_in(f"nobody{number}", "wrong", "", f"{network}:{number:x}")
    for _ in range(100):
        with pytest.raises(TooManyAttempts):
            users.log_in("ann", PASSWORD, "", f"{network}:ffff")
    users.log_in("ann", PASSWORD, "", "2001:db8:1:3::1")
    assert len(attempts._by_pair) <= ADDRESS_MAX + 1, "what an address can have remembered is bounded"


def test_tries_are_counted_before_they_are_looked_at(users: People, attempts: Attempts) -> None:
    """Or many at a time would all be let through before the first has failed."""
    users.create("ann", PASSWORD)
    for _ in range(PAIR_MAX):
        attempts.begin("ann", HERE)
    with pytest.raises(TooManyAttempts):
        users.log_in("ann", PASSWORD, "", HERE)


def test_who_logs_in_often_is_not_kept_out(users: People) -> None:
    users.create("ann", PASSWORD)
    for _ in range(3 * ADDRESS_MAX):
        users.log_in("ann", PASSWORD, "", HERE)
    assert attempts_module.NAME_MAX * 3600 // WINDOW_S <= 100


# ---------------------------------------------------------------------- who there is


def test_what_makes_no_sense_is_refused_with_what_would(users: People, operators: People) -> None:
    users.create("ann", PASSWORD)
    with pytest.raises(PeopleError, match="there is a user ann already"):
        users.create("ann", PASSWORD)
    operators.create("ann", PASSWORD, roles=("viewer",))
    for name in ("", "a", "Ann", "a b", "a" * 65, "ann/../bob", "ann\n", "-ann"):
        with pytest.raises(PeopleError, match="3 to 64 small letters"):
            users.create(name, PASSWORD)
    with pytest.raises(PeopleError, match="roles king: there are viewer, support, market, treasury, admin"):
        operators.create("bob", PASSWORD, roles=("viewer", "king"))
    with pytest.raises(WeakPassword):
        users.create("bob", "password1234")
    with pytest.raises(PeopleError, match="there is no user 'nobody'"):
        users.set_active("nobody", False)
    assert [person.name for person in users.everybody()] == ["ann"]


def test_a_password_that_was_reset_is_to_be_changed(users: People, clock: Clock) -> None:
    created = users.create("ann", PASSWORD)
    clock.now_s += 60
    reset = users.reset("ann", PASSWORD + "-2")
    assert (reset.must_change, reset.secured_us > created.secured_us) == (True, True)
    with pytest.raises(LoginRefused):
        users.log_in("ann", PASSWORD, "", HERE)
    assert users.log_in("ann", PASSWORD + "-2", "", HERE).must_change
    assert not users.change_password("ann", PASSWORD + "-3").must_change


def test_a_hash_of_other_parameters_is_made_anew_at_a_login(users: People, passwords: Passwords) -> None:
    users.create("ann", PASSWORD)
    passwords._hasher = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
    users.log_in("ann", PASSWORD, "", HERE)
    held = users._held("ann")
    assert held is not None
    assert "t=2" in held.record.password
    users.log_in("ann", PASSWORD, "", HERE)


# ---------------------------------------------------------------------- sessions


def test_a_session_is_found_by_its_token_alone(sessions: Sessions) -> None:
    begun = sessions.begin("ann", HERE, "browser\x1b[31m" + "x" * 500)
    session = sessions.found(begun.token)
    assert session is not None
    assert (session.person, session.client, session.agent[:12], len(session.agent)) == ("ann", HERE, "browser[31mx", 120)
    for token in (
        "",
        "ann",
        "ann.",
        begun.token + "x",
        begun.token[:-1],
        "bob" + begun.token[3:],
        session.id,
        f"ann.{session.id}",
        "a" * 10**5,
    ):
        assert sessions.found(token) is None
    assert session.id not in begun.token


def test_tokens_are_never_alike_and_the_store_has_none(sessions: Sessions, identities: Identities) -> None:
    begun = [sessions.begin("ann", HERE, "") for _ in range(10)]
    assert len({each.token for each in begun}) == 10
    names = {held.name for held in identities.vault.every(sessions.kind)}
    assert not any(each.token.encode() in name.encode() for each in begun for name in names)


def test_a_session_ends_when_it_is_idle_and_when_it_is_old(sessions: Sessions, clock: Clock) -> None:
    token = sessions.begin("ann", HERE, "").token
    for _ in range(LIVES_S // (IDLE_S - 60)):
        clock.now_s += IDLE_S - 60
        if clock.now_s - 1_800_000_000 < LIVES_S:
            assert sessions.found(token) is not None
    clock.now_s = 1_800_000_000 + LIVES_S
    assert sessions.found(token) is None
    token = sessions.begin("ann", HERE, "").token
    clock.now_s += IDLE_S
    assert sessions.found(token) is None
    assert sessions.list("ann") == []


def test_sessions_are_listed_and_revoked(sessions: Sessions, clock: Clock) -> None:
    tokens = []
    for _ in range(3):
        tokens.append(sessions.begin("ann", HERE, "").token)
        clock.now_s += 1
    other = sessions.begin("bob", HERE, "").token
    listed = sessions.list("ann")
    assert [session.began_us for session in listed] == sorted((session.began_us for session in listed), reverse=True)
    mine = sessions.found(tokens[0])
    assert mine is not None
    assert not sessions.revoke("bob", mine.id), "not another's"
    assert sessions.found(tokens[0]) is not None
    assert sessions.revoke("ann", mine.id)
    assert sessions.found(tokens[0]) is None
    kept = sessions.found(tokens[1])
    assert kept is not None
    assert sessions.revoke_all("ann", but=kept.id) == 1
    assert [sessions.found(token) is None for token in (*tokens, other)] == [True, False, True, False]


def test_a_session_that_is_used_while_it_is_revoked_does_not_come_back(
    sessions: Sessions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = sessions.begin("ann", HERE, "").token
    clock.now_s += NOTED_S + 1
    note = Sessions._note

    def meanwhile(self: Sessions, held: object, now_us: int) -> None:
        sessions.revoke_all("ann")
        note(self, held, now_us)  # type: ignore[arg-type]

    monkeypatch.setattr(Sessions, "_note", meanwhile)
    sessions.found(token)
    assert sessions.found(token) is None


def test_a_person_has_so_many_sessions(sessions: Sessions, clock: Clock) -> None:
    first = last = sessions.begin("ann", HERE, "").token
    for _ in range(SESSIONS_MAX):
        clock.now_s += 1
        last = sessions.begin("ann", HERE, "").token
    assert sessions.found(first) is None
    assert sessions.found(last) is not None
    assert len(sessions.list("ann")) == SESSIONS_MAX


def test_what_is_sent_along_is_of_the_session(sessions: Sessions) -> None:
    one, other = sessions.begin("ann", HERE, ""), sessions.begin("ann", HERE, "")
    assert is_csrf(one.token, one.csrf)
    for sent in (other.csrf, "", one.csrf[:-1], "ü", "\udcff", one.token):
        assert not is_csrf(one.token, sent)
    assert csrf_of(one.token) == one.csrf
