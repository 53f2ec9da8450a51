"""What an account may lose: value at risk, its back-test, stress, what if."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from server.cli.render import Columns, console, print_json, table
from server.cli.session import DEFAULT_ACCOUNT, AccountOption, JsonFlag, session_of
from server.cli.times import length_of
from tradewind import (
    HistoryUsed,
    HistoryWindow,
    LiquidationCost,
    RiskModel,
    StressResult,
    Unpriced,
    ValueAtRisk,
    VarBacktest,
    VarContribution,
    VarEstimate,
    VarRefusal,
)

_BAR_CHARS = 20
ValueInOption = Annotated[str, typer.Option("--in", metavar="ASSET", help="The asset to value in.")]
IntervalOption = Annotated[str, typer.Option("--interval", "-i", help="Length of a period: 1m, 1h, 1d.")]
ObservationsOption = Annotated[
    int, typer.Option("--observations", "-n", min=2, max=10_000, help="Periods of history to look at.")
]
MethodsOption = Annotated[
    list[str] | None,
    typer.Option("--method", "-m", metavar="METHOD", help="historical, normal, monte-carlo-student-t, ...; repeat for more."),
]
ConfidencesOption = Annotated[
    list[float] | None, typer.Option("--confidence", "-c", help="Such as 0.99; may be repeated.")
]
HorizonsOption = Annotated[list[int] | None, typer.Option("--horizon", help="In periods; may be repeated.")]
CovarianceOption = Annotated[
    str | None, typer.Option("--covariance", metavar="ESTIMATOR", help="sample, ewma or shrunk.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of simulations; 0 is the default seed.")]


def money(value: Decimal | float | None) -> str | None:
    """For people: two decimals, thousands apart."""
    return None if value is None else f"{value:,.2f}"


def bar(share: float) -> str:
    """A share of 0 to 1, drawn."""
    filled = round(max(0.0, min(share, 1.0)) * _BAR_CHARS)
    return "#" * filled + "." * (_BAR_CHARS - filled)


def _say(parts: Iterable[str]) -> None:
    """A sentence, wrapped where the screen ends."""
    console().print("  ".join(parts), markup=False)


def _named(text: str) -> str:
    return text.replace("-", "_")


def _model(
    methods: Sequence[str] | None,
    confidences: Sequence[float] | None,
    horizons: Sequence[int] | None,
    covariance: str | None,
    seed: int,
) -> RiskModel:
    return RiskModel(
        methods=tuple(map(_named, methods or ())),
        confidences=tuple(confidences or ()),
        horizons=tuple(horizons or ()),
        covariance=covariance,
        seed=seed,
    )


def _window(interval: str, observations: int) -> HistoryWindow:
    return HistoryWindow(length_of(interval, "--interval"), observations)


def var(
    context: typer.Context,
    method: MethodsOption = None,
    confidence: ConfidencesOption = None,
    horizon: HorizonsOption = None,
    covariance: CovarianceOption = None,
    interval: IntervalOption = "1h",
    observations: ObservationsOption = 500,
    seed: SeedOption = 0,
    value_in: ValueInOption = "USDT",
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """Value at risk and expected shortfall, with each position's part.

    \b
    Examples:
      tradewind risk var
      tradewind risk var -m historical -m normal -c 0.99 --horizon 1 --horizon 24
      tradewind risk var --interval 1m --observations 300
    """
    model = _model(method, confidence, horizon, covariance, seed)
    with session_of(context).client(account) as client:
        found = client.get_value_at_risk(
            model=model, history=_window(interval, observations), valuation_asset=value_in
        )
    if json:
        print_json(found)
    else:
        _show_var(found)


_ESTIMATES: Columns[VarEstimate] = {
    "method": lambda e: e.method,
    "confidence": lambda e: f"{e.confidence:.4g}",
    "horizon": lambda e: e.horizon,
    "value at risk": lambda e: money(e.value_at_risk),
    "expected shortfall": lambda e: money(e.expected_shortfall),
    "observations": lambda e: e.observations,
    "note": lambda e: e.note,
}
_REFUSALS: Columns[VarRefusal] = {
    "no number from": lambda r: r.method,
    "confidence": lambda r: f"{r.confidence:.4g}",
    "horizon": lambda r: r.horizon,
    "because": lambda r: r.description,
}
_UNPRICED: Columns[Unpriced] = {"not liquidated": lambda u: u.name, "because": lambda u: u.reason}


def _show_var(found: ValueAtRisk) -> None:
    screen = console()
    _say([f"In {found.valuation_asset}: gross {money(found.gross)}, net {money(found.net)}"])
    _show_history(found.history)
    screen.print()
    screen.print(table(found.estimates, _ESTIMATES))
    first = found.estimates[0]
    screen.print()
    _say([f"By position, {first.method} {first.confidence:.4g}:"])
    whole = sum(abs(each.component_value_at_risk) for each in first.contributions)
    parts: Columns[VarContribution] = {
        "instrument": lambda c: c.instrument,
        "component": lambda c: money(c.component_value_at_risk),
        "of shortfall": lambda c: money(c.component_expected_shortfall),
        "share": lambda c: bar(abs(c.component_value_at_risk) / whole) if whole else None,
    }
    screen.print(table(first.contributions, parts))
    if found.refusals:
        screen.print()
        screen.print(table(found.refusals, _REFUSALS))
    if found.scores:
        best = found.scores[0]
        screen.print()
        _say([
            f"Best covariance forecast out of sample: {best.estimator}",
            f"variance came out {best.variance_ratio:.2f} times the forecast ({best.forecasts} forecasts)",
        ])


def _show_history(used: HistoryUsed) -> None:
    missing = {each.instrument: each.missing_count for each in used.instruments if each.missing_count}
    _say([
        f"{used.observations} returns of {used.interval}",
        f"{used.start_time:%Y-%m-%d %H:%M} to {used.end_time:%Y-%m-%d %H:%M} UTC",
    ])
    for name, count in missing.items():
        _say([f"{count} candles of {name} are missing."])


def stress(
    context: typer.Context,
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", "-s", help="A past shock by name, or all; may be repeated.")
    ] = None,
    shock: Annotated[
        list[str] | None,
        typer.Option("--shock", metavar="ASSET=CHANGE", help="Own shock: BTC=-0.3, OTHER=-0.5; may be repeated."),
    ] = None,
    correlations: Annotated[bool, typer.Option("--correlations", help="All correlations one; hedges that fail.")] = False,
    default: Annotated[
        list[str] | None, typer.Option("--default", metavar="VENUE", help="This venue defaults; may be repeated.")
    ] = None,
    liquidate: Annotated[bool, typer.Option("--liquidate", help="Cost of closing all on the books now.")] = False,
    interval: IntervalOption = "1h",
    observations: ObservationsOption = 500,
    value_in: ValueInOption = "USDT",
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """What the positions lose in past and own shocks.

    Without options: all past shocks, and the cost of closing all positions.

    \b
    Examples:
      tradewind risk stress
      tradewind risk stress --shock BTC=-0.3 --shock OTHER=-0.5
      tradewind risk stress --default binance --correlations
    """
    own = {"custom": dict(map(_shock, shock))} if shock else {}
    with session_of(context).client(account) as client:
        found = client.run_stress(
            named=scenario or (),
            custom=own,
            correlations_to_one=correlations,
            history=_window(interval, observations) if correlations else None,
            venue_defaults=default or (),
            liquidate=liquidate,
            valuation_asset=value_in,
        )
    if json:
        print_json(found)
        return
    screen = console()
    _say([f"In {found.valuation_asset}: gross {money(found.gross)}, net {money(found.net)}"])
    if found.history is not None:
        _show_history(found.history)
    worst = max((abs(each.loss) for each in found.results), default=0.0)
    results: Columns[StressResult] = {
        "scenario": lambda r: r.name,
        "loss": lambda r: money(r.loss),
        "": lambda r: bar(abs(r.loss) / worst) if worst else None,
        "what": lambda r: r.description,
    }
    screen.print(table(found.results, results))
    if found.liquidation:
        screen.print()
        screen.print(table(found.liquidation, _LIQUIDATION))
    if found.not_liquidated:
        screen.print()
        screen.print(table(found.not_liquidated, _UNPRICED))


_LIQUIDATION: Columns[LiquidationCost] = {
    "close": lambda c: c.instrument,
    "qty": lambda c: f"{c.qty:g}",
    "spread": lambda c: money(c.spread_cost),
    "impact": lambda c: money(c.impact_cost),
    "fees": lambda c: money(c.fees),
    "bps": lambda c: f"{c.cost_bps:.1f}",
    "book does not take": lambda c: f"{c.unfilled_qty:g}" if c.unfilled_qty else None,
}


def _shock(text: str) -> tuple[str, float]:
    name, _, change = text.partition("=")
    try:
        return name, float(change)
    except ValueError:
        raise typer.BadParameter(f"{text}: write ASSET=CHANGE, such as BTC=-0.3", param_hint="--shock") from None


def backtest(
    context: typer.Context,
    method: Annotated[str, typer.Option("--method", "-m", help="One method, such as historical or normal.")] = "historical",
    confidence: Annotated[float, typer.Option("--confidence", "-c", help="Such as 0.99.")] = 0.99,
    covariance: CovarianceOption = None,
    window: Annotated[int, typer.Option(min=1, max=10_000, help="Periods behind each forecast.")] = 250,
    interval: IntervalOption = "1h",
    observations: ObservationsOption = 1_000,
    value_in: ValueInOption = "USDT",
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """Whether value at risk kept its promise over the history.

    \b
    Examples:
      tradewind risk backtest
      tradewind risk backtest -m normal -c 0.95 --window 500 --observations 2000
    """
    model = _model([method], [confidence], None, covariance, 0)
    with session_of(context).client(account) as client:
        found = client.backtest_var(
            model=model, history=_window(interval, observations), window=window, valuation_asset=value_in
        )
    if json:
        print_json(found)
    else:
        _show_backtest(found)


def _show_backtest(found: VarBacktest) -> None:
    _show_history(found.history)
    passed = f"{found.exceedances} of {found.forecasts} losses passed value at risk, {found.expected:.1f} expected"
    _say([f"{found.method} {found.confidence:.4g}: {passed}: {found.traffic_light}"])
    tests = [
        ("Kupiec: their number", found.kupiec),
        ("Christoffersen: no bunches", found.independence),
        ("both", found.conditional_coverage),
    ]
    rows = [
        (name, f"{test.statistic:.2f}", f"{test.p_value:.4f}", "rejected" if test.p_value < 0.05 else "")
        for name, test in tests
    ]
    columns: Columns[tuple[str, str, str, str]] = {
        "test": lambda r: r[0], "statistic": lambda r: r[1], "p": lambda r: r[2], "at 5 %": lambda r: r[3],
    }  # fmt: skip
    console().print(table(rows, columns))
    if found.shortfall_ratio is not None:
        _say([f"Losses beyond it were {found.shortfall_ratio:.2f} times the expected shortfall."])


def what_if(
    context: typer.Context,
    positions: Annotated[list[str], typer.Argument(metavar="INSTRUMENT=QTY...", help="Held besides; below zero: less.")],
    interval: IntervalOption = "1h",
    observations: ObservationsOption = 500,
    value_in: ValueInOption = "USDT",
    account: AccountOption = DEFAULT_ACCOUNT,
    json: JsonFlag = False,
) -> None:
    """Exposure and value at risk with positions only supposed.

    \b
    Example:
      tradewind risk what-if binance:BTC/USDT=0.5 binance:ETH/USDT=-2
    """
    supposed = dict(map(_position, positions))
    with session_of(context).client(account) as client:
        found = client.what_if(
            positions=supposed, history=_window(interval, observations), valuation_asset=value_in
        )
    if json:
        print_json(found)
        return
    before, after = found.exposure_before, found.exposure_after
    rows = [
        ("gross", money(before.gross), money(after.gross)),
        ("net", money(before.net), money(after.net)),
        ("worst case", money(before.worst_case_gross), money(after.worst_case_gross)),
        ("concentration", f"{before.concentration:.2f}", f"{after.concentration:.2f}"),
        *_compared(found.value_at_risk_before, found.value_at_risk_after),
    ]
    columns: Columns[tuple[str, str | None, str | None]] = {
        f"in {before.valuation_asset}": lambda r: r[0], "now": lambda r: r[1], "then": lambda r: r[2],
    }  # fmt: skip
    console().print(table(rows, columns))


def _compared(before: ValueAtRisk | None, after: ValueAtRisk | None) -> Iterable[tuple[str, str | None, str | None]]:
    """Value at risk of both by method, confidence and horizon."""
    columns = [
        {(e.method, e.confidence, e.horizon): e.value_at_risk for e in found.estimates} if found is not None else {}
        for found in (before, after)
    ]
    for key in columns[0] | columns[1]:
        method, confidence, horizon = key
        yield f"{method} {confidence:.4g}, {horizon}", money(columns[0].get(key)), money(columns[1].get(key))


def _position(text: str) -> tuple[str, Decimal]:
    name, _, qty = text.rpartition("=")
    try:
        return name, Decimal(qty)
    except InvalidOperation:
        raise typer.BadParameter(
            f"{text}: write INSTRUMENT=QTY, such as binance:BTC/USDT=0.5", param_hint="INSTRUMENT"
        ) from None
