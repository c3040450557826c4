"""What a call costs: CPU time of the server, the workers and PostgreSQL together, as a multiple of the floor.

A round is a day in the lives of some new people: each signs up by a link, pays, spends points, and is asked about. The
floor is measured in the same round on the same server. What the local gateway and a worker take by themselves, which
is nothing of the product's, is measured by a route that is not there, and taken off.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from local.client import Client
from local.server_process import ServeError, serve
from tests.benchmarks import cpu
from tests.benchmarks.floor import Floor
from tests.benchmarks.ground import BenchmarkError, Ground
from tests.benchmarks.table import Budget, Compared, Line
from tests.support.companies import Company
from tests.support.stripe_objects import invoice_paid

CLIENTS = 4
WORKERS = 2
ROUNDS = 7
PEOPLE = 200
"""New people in each round."""
FLOOR_CALLS = 400
REFERRERS = 1000
"""So many that nobody brings more people than honest ones do: every signal is looked at, and none is raised."""
TIMING = {"qualification_min_hours": 0}
"""People pay here as they sign up."""


class Stage:
    """One client's view of the company: what people do in it, each person known by a number."""

    def __init__(self, line: Mapping[str, str], codes: Sequence[str], option_id: str) -> None:
        self._company = Company(dict(line))
        self._codes = codes
        self._option_id = option_id

    def miss(self, number: int) -> None:
        """Ask for what is not there."""
        _expect(404, self._company.browser, "GET", f"/v1/no-such-route/{number}")

    def follow(self, number: int) -> None:
        """Follow a link."""
        _expect(302, self._company.browser, "GET", f"/r/{self._code(number)}?utm_source=newsletter")

    def sign_up(self, number: int) -> None:
        """Come by a referrer's code."""
        name = _name(number)
        user = {"external_id": name, "email": f"{name}@example.com", "stripe_customer_id": f"cus_{name}"}
        seen = {
            "ip": f"198.{51 + number // 65_536 % 50}.{number // 256 % 256}.{number % 256}",
            "user_agent": f"Mozilla/5.0 (X11; Linux x86_64) Chrome/{number % 100}.0",
            "device_fingerprint": f"device-{number}",
        }
        body = {"user": user, "referral_code": self._code(number), **seen}
        self._company.ok("POST", "/v1/signups", body, status=201)

    def pay(self, number: int) -> None:
        """Pay for the first time."""
        name = _name(number)
        event = invoice_paid(f"evt_{name}", f"in_{name}", customer=f"cus_{name}", subscription=f"sub_{name}")
        answer = self._company.deliver(event)
        if answer.status != 200:
            raise BenchmarkError(f"a payment was refused: {answer.raw!r}")

    def redeem(self, number: int) -> None:
        """Spend points."""
        path = f"/v1/users/{_name(number)}/redemptions"
        self._company.ok("POST", path, {"option_id": self._option_id}, key=f"redeem-{number}", status=201)

    def use(self, number: int) -> None:
        """Use a feature."""
        self._company.ok("POST", f"/v1/users/{_name(number)}/usage", {"feature": "ai_calls"}, status=200)

    def receive(self, number: int) -> None:
        """Be given points."""
        path = f"/v1/users/{_name(number)}/points"
        self._company.ok("POST", path, {"points": 5, "note": "Thanks"}, key=f"give-{number}", status=201)

    def balance(self, number: int) -> None:
        """Have one's balance read."""
        self._company.ok("GET", f"/v1/users/{_name(number)}/balance")

    def entitlement(self, number: int) -> None:
        """Have one's entitlement read."""
        self._company.ok("GET", f"/v1/users/{_name(number)}/entitlements/ai_calls")

    def close(self) -> None:
        """End the connections."""
        self._company.close()

    def _code(self, number: int) -> str:
        return self._codes[number % len(self._codes)]


Deed = Callable[[Stage, int], None]

# In this order a person can do it all.
PATHS: Mapping[Budget, Deed] = {
    Budget("signup with attribution", 5): Stage.sign_up,
    Budget("first payment, all effects", 7): Stage.pay,
    Budget("duplicate webhook", 1.2): Stage.pay,
    Budget("redeem", 2): Stage.redeem,
    Budget("use of a feature", 2): Stage.use,
    Budget("credit", 2): Stage.receive,
    Budget("redirect, recorded", 1): Stage.follow,
    Budget("balance", 1.2): Stage.balance,
    Budget("entitlement", 1.2): Stage.entitlement,
}
BUDGETS = tuple(PATHS)


def measure(ground: Ground) -> list[Line]:
    """The budgets of the hot paths."""
    floor = Floor(ground.superuser_url)
    try:
        with serve(ground.home, DATABASE_URL=ground.superuser_url, GOODWORD_WORKERS=str(WORKERS)) as server:
            stages = _set(server.line["url"])
            for turn in range(2):  # for plans, caches and kept connections; and statistics of a database in use
                _round(stages, floor, turn * PEOPLE)
                ground.settle()
            rounds = [_round(stages, floor, (2 + turn) * PEOPLE) for turn in range(ROUNDS)]
            for stage in stages:
                stage.close()
    except ServeError as error:
        raise BenchmarkError(str(error)) from error
    finally:
        floor.close()
    return [_line(budget, [each[budget] for each in rounds]) for budget in BUDGETS]


def _set(url: str) -> list[Stage]:
    """A company with referrers and something to buy, as each client sees it."""
    company = Company.open(url)
    program = company.ok("GET", "/v1/program")["program"]
    company.ok("PUT", "/v1/program", {**program, "timing": {**program["timing"], **TIMING}})
    codes = [_referrer(company, number) for number in range(REFERRERS)]
    option = {"kind": "quota", "name": "Calls", "feature": "ai_calls", "quantity": 1, "cost_points": 1}
    option_id = company.ok("POST", "/v1/redemption-options", option, status=201)["id"]
    company.close()
    return [Stage(company.line, codes, option_id) for _ in range(CLIENTS)]


def _referrer(company: Company, number: int) -> str:
    """Somebody whom the app has known for some days; their code."""
    since = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    name = f"referrer-{number}"
    user = {"external_id": name, "email": f"{name}@example.org", "created_at": since}
    return company.sign_up(name, user=user)["user"]["referral_code"]


@dataclass(frozen=True)
class Priced:
    """What a call of one path took in one round: milliseconds of CPU time, the floor's beside them, calls a second."""

    own: float
    floor: float
    rate: float


def _round(stages: Sequence[Stage], floor: Floor, first: int) -> dict[Budget, Priced]:
    unit = floor.cost(FLOOR_CALLS)
    around, _ = _cost(stages, Stage.miss, first)
    priced: dict[Budget, Priced] = {}
    for budget, deed in PATHS.items():
        whole, rate = _cost(stages, deed, first)
        priced[budget] = Priced(whole - around, unit, rate)
    return priced


def _cost(stages: Sequence[Stage], deed: Deed, first: int) -> tuple[float, float]:
    """Milliseconds of CPU time that the deed of a person takes, and how many of them a second are done."""
    began = time.perf_counter()
    seconds = cpu.spent(partial(_do, stages, deed, range(first, first + PEOPLE)))
    return seconds * 1000 / PEOPLE, PEOPLE / (time.perf_counter() - began)


def _do(stages: Sequence[Stage], deed: Deed, numbers: Sequence[int]) -> None:
    """Each client does it for its share of the people, one after the other."""

    def share(client: int) -> None:
        for number in numbers[client :: len(stages)]:
            deed(stages[client], number)

    with ThreadPoolExecutor(len(stages)) as threads:
        for _ in threads.map(share, range(len(stages))):
            pass


def _line(budget: Budget, rounds: Sequence[Priced]) -> Line:
    found = Compared.of([(each.own, each.floor) for each in rounds])
    rate = statistics.median(each.rate for each in rounds)
    detail = f"{found.judged:.2f} ms of CPU, the floor {found.other:.2f} ms; {rate:,.0f} a second"
    return budget.line(found.ratio, detail)


def _expect(status: int, client: Client, method: str, path: str) -> None:
    answer = client.send(method, path)
    if answer.status != status:
        raise BenchmarkError(f"{path} was answered by {answer.status}: {answer.raw!r}")


def _name(number: int) -> str:
    return f"person-{number}"
