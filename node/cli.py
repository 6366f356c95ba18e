"""The `overread` command. Each command imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from node.commands.group import CommandGroup
from node.commands.score import app as score

if TYPE_CHECKING:
    from node.settings import Settings

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A clinical AI node: reads the studies a PACS routes to it and sends DICOM SEG and SR back.",
)
models = typer.Typer(
    no_args_is_help=True,
    help="The models: what is installed, and does it answer as recorded?",
    epilog="Example: overread models verify",
)
users = typer.Typer(
    no_args_is_help=True,
    help="Who may log in to the status page.",
    epilog="Example: overread users add anna --role viewer",
)
app.add_typer(models, name="models")
app.add_typer(users, name="users")
app.add_typer(score, name="score")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        envvar="OVERREAD_CONFIG",
        help="Settings file; else ./overread.toml if any.",
    ),
]

TlsName = Annotated[
    str, typer.Option(metavar="NAME", help="What the node's certificate is made out to; else its host.")
]

DataSet = Annotated[
    Path | None,
    typer.Option("--data", "-d", metavar="DIR", help="Folder of the data set; phantoms need none."),
]
AccountName = Annotated[str, typer.Argument(metavar="NAME", help="What they log in with.")]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", metavar="FILE", help="A file that holds the password alone.")
]
Layout = Annotated[str, typer.Option(metavar="NAME", help="How the data set is laid out.")]


def _settings(config: Path | None) -> Settings:
    from node.settings.file import load_settings

    return load_settings(config)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"overread {version('overread')}")
        raise typer.Exit


@app.callback()
def _overread(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that stand before any command."""


@app.command(epilog="Example: overread serve --config overread.toml")
def serve(config: Config = None) -> None:
    """Run the node: receive, read, deliver, until Ctrl-C or SIGTERM."""
    from node.commands.serve import serve
    from node.settings.file import default_file

    serve(_settings(config), config or default_file())


@app.command(epilog="Example: overread check --config overread.toml")
def check(
    config: Config = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print every setting as commented TOML, and check nothing.")
    ] = False,
    alive: Annotated[
        bool, typer.Option("--alive", help="Only ask the running node whether it answers; for containers.")
    ] = False,
) -> None:
    """Verify settings, disk, database, models, engine, ports and every DICOM peer."""
    settings = _settings(config)
    if alive:
        from node.commands.alive import check_alive

        check_alive(settings.web)
        return
    if print_config:
        from node.settings.printing import print_config as printed

        print(printed(settings), end="")
        return
    from node.commands.check import check
    from node.settings.file import default_file, overridden

    check(settings, config or default_file(), overridden(config))


@app.command(epilog="Example: overread read ./study --prior ./last-year --out ./results")
def read(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY_DIR", exists=True, help="Folder with one study's DICOM files.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for the result objects and reading.json."),
    ],
    prior: Annotated[
        list[Path] | None,
        typer.Option(
            "--prior",
            "-p",
            metavar="STUDY_DIR",
            exists=True,
            help="An earlier study of the patient; may be repeated.",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Read one study offline, without a server."""
    settings = _settings(config)
    from node.commands.read import read

    read(study, prior or [], out, settings)


@app.command(epilog="Example: overread send ./study --to 127.0.0.1:11112")
def send(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", exists=True, help="DICOM files, or folders.")
    ],
    to: Annotated[
        str | None, typer.Option(metavar="[AET@]HOST:PORT", help="Else the node of the settings.")
    ] = None,
    aec: Annotated[
        str | None, typer.Option(metavar="AET", help="AE title to call; else that of the settings.")
    ] = None,
    aet: Annotated[str, typer.Option(metavar="AET", help="AE title to call with.")] = "OVERREAD-SEND",
    tls_name: TlsName = "",
    config: Config = None,
) -> None:
    """Send DICOM files to a node, as a PACS would."""
    from node.commands.send import calling_title, peer_at, send
    from node.security.tls import identity_of

    settings = _settings(config)
    peer = peer_at(to, aec, settings, tls_name)
    send(paths, peer, calling_title(aet), identity_of(settings.dicom.tls.files))


@app.command("set-aside", epilog="Example: overread set-aside --again")
def set_aside(
    again: Annotated[bool, typer.Option("--again", help="Have the node take them all in.")] = False,
    delete: Annotated[
        list[Path] | None, typer.Option("--delete", metavar="FILE", help="Delete this one; may be repeated.")
    ] = None,
    aet: Annotated[
        str, typer.Option(metavar="AET", help="AE title to call the node with, for --again.")
    ] = "OVERREAD-SEND",
    tls_name: TlsName = "",
    config: Config = None,
) -> None:
    """List the images that were acknowledged and contradict their study, and see to them."""
    from node.commands import set_aside

    if again and delete:
        raise typer.BadParameter("--again and --delete exclude each other.")
    settings = _settings(config)
    if again:
        set_aside.send_again(settings, aet, tls_name)
    elif delete:
        set_aside.delete(settings, delete)
    else:
        set_aside.show(settings)


@app.command(epilog="Example: overread demo --exit")
def demo(
    exit_after: Annotated[
        bool, typer.Option("--exit", help="End after the deliveries, with 0 only if every object arrived.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave all data in ./overread-demo.")] = False,
) -> None:
    """See it work: a node, a stand-in PACS and phantom patients."""
    from node.demo.play import play

    play(exit_after, keep)


@app.command(
    epilog="Example: overread train lung-nodules --from installed --data ./LUNA16 --layout luna16 --out ./run"
)
def train(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A reader's name, growth or registration.")],
    data: DataSet = None,
    layout: Layout = "phantom",
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Checkpoints, curves, and the model repository."),
    ] = Path("overread-training"),
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Go on from a run, from a folder of models, or from those `installed`.",
        ),
    ] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not resume what lies in --out.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same figures.")] = 1,
    minutes: Annotated[float | None, typer.Option(min=0, help="At most so long.")] = None,
    activation: Annotated[
        Literal["relu", "leaky_relu", "gelu", "silu", "elu"],
        typer.Option(metavar="NAME", help="Of the networks: relu, leaky_relu, gelu, silu or elu."),
    ] = "relu",
    architecture: Annotated[str | None, typer.Option(help="Else the task's usual one.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1…")] = "auto",
    config: Config = None,
) -> None:
    """Train the models of a reader, on phantoms or on a data set."""
    from node.commands.training import train

    train(
        task,
        data,
        layout,
        out,
        start=start,
        config=config,
        resume=not fresh,
        seed=seed,
        minutes=minutes,
        activation=activation,
        architecture=architecture,
        device=device,
    )


@app.command(epilog="Example: overread compare polyps --steps 300 --seeds 2 --json networks.json")
def compare(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A task whose networks differ: ct-lesions or polyps.")
    ],
    steps: Annotated[int, typer.Option(min=1, help="Of training, for each network and seed.")] = 300,
    seeds: Annotated[int, typer.Option(min=1, help="How often each network is trained.")] = 2,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Checkpoints; what lies there is gone on from.")
    ] = Path("overread-comparison"),
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every figure here, too.")
    ] = None,
) -> None:
    """Train activations and architectures alike, and print them in a table."""
    from node.commands.training import compare

    compare(task, out, steps, seeds, json)


@app.command(
    epilog="Example: overread evaluate lung-nodules --data ./lidc --layout lidc-slices --json f.json"
)
def evaluate(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A reader's name, growth or registration.")],
    data: DataSet = None,
    layout: Layout = "phantom",
    split: Annotated[str, typer.Option(help="Part of the data; else the layout's own default.")] = "",
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every figure here, too.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw curves and sheets into this folder.")
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of a training (OUT/models); else those the node reads with."),
    ] = None,
    config: Config = None,
) -> None:
    """Measure the models of a reader by the field's own figures."""
    from node.commands.training import evaluate

    evaluate(task, data, layout, split, json, pictures, models=models, config=config)


@app.command(epilog="Example: overread audit --since 2026-01-01 > audit.jsonl")
def audit(
    since: Annotated[str, typer.Option(metavar="DAY", help="From this day on.")] = "",
    until: Annotated[str, typer.Option(metavar="DAY", help="To this day.")] = "",
    config: Config = None,
) -> None:
    """Print who sent, saw and did what, as JSON lines."""
    from node.commands.audit import print_audit

    print_audit(_settings(config), since, until)


@users.command("list", epilog="Example: overread users list")
def users_list(config: Config = None) -> None:
    """List the accounts."""
    from node.commands.users import list_users

    list_users(_settings(config))


@users.command("add", epilog="Example: overread users add anna --role viewer")
def users_add(
    name: AccountName,
    role: Annotated[
        Literal["admin", "viewer"], typer.Option(help="An admin acts and reads the audit trail.")
    ] = "admin",
    password_file: PasswordFile = None,
    config: Config = None,
) -> None:
    """Make an account; the password is asked for, or read from standard input."""
    from node.commands.users import add_user

    add_user(_settings(config), name, role, password_file)


@users.command("password", epilog="Example: overread users password anna")
def users_password(name: AccountName, password_file: PasswordFile = None, config: Config = None) -> None:
    """Set a new password, and end every login of the account."""
    from node.commands.users import set_password

    set_password(_settings(config), name, password_file)


@users.command("remove", epilog="Example: overread users remove anna")
def users_remove(name: AccountName, config: Config = None) -> None:
    """Remove an account, and end its logins."""
    from node.commands.users import remove_user

    remove_user(_settings(config), name)


@models.command("list", epilog="Example: overread models list")
def models_list(config: Config = None) -> None:
    """List the installed models."""
    from node.commands.models import list_models

    list_models(_settings(config))


@models.command("verify", epilog="Example: overread models verify")
def models_verify(config: Config = None) -> None:
    """Run every model on its recorded sample and compare."""
    from node.commands.models import verify_models

    verify_models(_settings(config))


@models.command("build", epilog="Example: overread models build --target tensorrt --precision fp16")
def models_build(
    names: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="All, if none is named.")] = None,
    target: Annotated[
        Literal["tensorrt", "tensorrt-rtx"],
        typer.Option(help="tensorrt-rtx only tells whether it can be done, without a GPU."),
    ] = "tensorrt",
    precision: Annotated[Literal["fp32", "fp16"], typer.Option(help="Of the network inside.")] = "fp16",
    config: Config = None,
) -> None:
    """Build TensorRT plans on this GPU, prove them and put them into service."""
    from node.commands.build import build_models

    build_models(_settings(config), names or [], target, precision)


@models.command("roll-back", epilog="Example: overread models roll-back lung-nodules-detector")
def models_roll_back(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="As `overread models list` names it.")],
    gpu: Annotated[
        str | None, typer.Option(metavar="9.0", help="Compute capability; else that of this GPU.")
    ] = None,
    config: Config = None,
) -> None:
    """Put a model's earlier TensorRT plan into service again."""
    from node.commands.build import roll_back_model

    roll_back_model(_settings(config), name, gpu)


if __name__ == "__main__":
    app()
