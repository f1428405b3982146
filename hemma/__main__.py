"""The `hemma` command. Each verb imports what it needs, so that `hemma status` starts quickly."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

DEFAULT_CONFIG = Path("config/site.yaml")
DEFAULT_STATE = Path("var")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["sim"]:  # the simulated house has arguments of its own
        from sim.app import main as sim_main

        sys.exit(sim_main(given[1:]))
    if given[:1] == ["bench"]:
        from hemma.bench import main as bench_main

        sys.exit(bench_main(given[1:]))
    if given[:1] == ["plot"]:
        from hemma.plot import main as plot_main

        sys.exit(plot_main(given[1:]))
    options = _parser().parse_args(given)
    verb: Callable[[argparse.Namespace], int] = options.verb
    sys.exit(verb(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hemma", description="An open home energy controller.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    up = _add(verbs, "up", _up, "start the broker and all services, and keep them running")
    up.add_argument("--state-dir", type=Path, default=DEFAULT_STATE)
    up.add_argument("--no-broker", action="store_true", help="there is one already")
    up.add_argument("--only", nargs="+", metavar="SERVICE", help="not all services, but these")
    up.add_argument("--log", choices=("json", "text"), default="text")

    status = _add(verbs, "status", _status, "print the whole house; exit code 0 when it is well")
    status.add_argument("--json", action="store_true")
    status.add_argument("--watch", action="store_true", help="draw it live until Ctrl-C")

    check = verbs.add_parser("check-config", help="read a site.yaml and list all that is wrong")
    check.add_argument("file", type=Path)
    check.set_defaults(verb=_check_config)

    settings = _add(
        verbs, "set", _set, "change settings: hemma set feed-in mode=watts limit_w=3000"
    )
    settings.add_argument("section")
    settings.add_argument("changes", nargs="+", metavar="FIELD=VALUE")

    demo = verbs.add_parser("demo", help="a whole house without hardware, live in the terminal")
    demo.add_argument("--scenario", type=Path, help="another house of the simulator's")
    demo.add_argument("--state-dir", type=Path, default=DEFAULT_STATE / "demo")
    demo.add_argument("--seconds", type=float, help="stop by itself after this time")
    demo.add_argument("--seed", type=int, default=1)
    demo.add_argument("--picture", type=Path, help="write the last frame there, as SVG")
    demo.set_defaults(verb=_demo)

    docs = verbs.add_parser("docs", help="write the generated pages anew")
    docs.add_argument("--check", action="store_true", help="write nothing; exit 1 if out of date")
    docs.set_defaults(verb=_docs)

    verbs.add_parser("sim", help="the simulated house alone (hemma sim --help)")
    verbs.add_parser("bench", help="measurements (hemma bench --help)")
    verbs.add_parser("plot", help="draw what the control does (hemma plot --help)")
    return parser


def _add(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    verb: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="site.yaml")
    parser.set_defaults(verb=verb)
    return parser


def _up(options: argparse.Namespace) -> int:
    from hemma.up import up

    return up(
        options.config,
        options.state_dir,
        names=options.only,
        with_broker=not options.no_broker,
        log_format=options.log,
    )


def _status(options: argparse.Namespace) -> int:
    from hemma.session import print_status, watch

    return watch(options.config) if options.watch else print_status(options.config, options.json)


def _check_config(options: argparse.Namespace) -> int:
    from hemma.check_config import check_config

    return check_config(options.file)


def _set(options: argparse.Namespace) -> int:
    from hemma.session import change_settings

    return change_settings(options.config, options.section, options.changes)


def _docs(options: argparse.Namespace) -> int:
    from hemma.generate import write_pages

    return write_pages(check=options.check)


def _demo(options: argparse.Namespace) -> int:
    from hemma.demo import demo

    return demo(options.state_dir, options.scenario, options.seed, options.seconds, options.picture)


if __name__ == "__main__":
    main()
