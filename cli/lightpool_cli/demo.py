"""`lightpool demo`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from lightpool_cli import append, console, history

# ffmpeg's own sources, cropped and panned so that some clips move and some hold still for seconds.
_FIRST = {
    "harbour/morning.mp4": ("mandelbrot=size=640x360:rate=10:end_scale=0.02:end_pts=80", "hue=s=0.6"),
    # Left to itself, this source chooses other ends at each start, whatever its seed.
    "harbour/evening.mp4": (
        "gradients=size=640x360:rate=10:speed=0.02:seed=7:n=2:c0=darkorange:c1=midnightblue:x0=80:y0=20:x1=560:y1=330",
        "vignette",
    ),
    "street/crossing.mp4": ("testsrc2=size=960x540:rate=10", "crop=640:360:(in_w-out_w)*t/8:(in_h-out_h)*t/8"),
}
_THEN = {
    "street/night.mp4": ("life=size=160x90:rate=10:mold=20:seed=4:ratio=0.2", "scale=640:360:flags=neighbor"),
    "street/roadworks.mp4": ("smptehdbars=size=960x540:rate=10", "crop=640:360:'if(lt(t,5),0,320*(t-5)/3)':0"),
}
_SECONDS = 8


def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the videos and the pool.")],
) -> None:
    """Tell the story of a datapool on rendered videos.

    Three short videos and a picture arrive and are appended; two more videos and a copy of the picture
    arrive, and the same command is given again; then the history, and the way back. Needs no network.

    \b
    Example:
      lightpool demo demo
    """
    from lightpool_core.errors import SourceError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SourceError(f"{folder} exists already; choose a name that is free")
    inputs, pool = folder / "inputs", folder / "my_datapool"
    _tell("Three videos and a picture arrive:")
    _render(_FIRST, inputs)
    _still(inputs / "street/crossing.mp4", inputs / "postcard.png")
    _command(f"append --pool {pool} --input {inputs} --embedder gist")
    append.append(pool, inputs=[inputs], embedder="gist")
    _tell("Two more videos arrive, and a copy of the picture under another name:")
    _render(_THEN, inputs)
    shutil.copyfile(inputs / "postcard.png", inputs / "postcard-copy.png")
    for told in ("The same command looks at what is new only:", "And once more: nothing is new, nothing changes."):
        _tell(told)
        _command(f"append --pool {pool}")
        append.append(pool)
    _tell("Every version is kept, and can be had again:")
    _command(f"history list --pool {pool}")
    history.list_versions(pool)
    _command(f"history restore 1 --pool {pool}")
    history.restore("1", pool)
    _tell("After that, the next append looks again at what came after version 1:")
    _command(f"append --pool {pool}")
    append.append(pool)
    _tell(f"The chosen samples: {pool}/datapool_latest.csv. The videos: {inputs}. Try: lightpool info --pool {pool}")


def _tell(text: str) -> None:
    console.lines(["", f"# {text}"])


def _command(text: str) -> None:
    console.lines([f"$ lightpool {text}"])


def _render(clips: dict[str, tuple[str, str]], inputs: Path) -> None:
    import ffmpeg

    for name, (source, look) in clips.items():
        path = inputs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        clip = ffmpeg.input(source, format="lavfi", t=_SECONDS)
        _run(clip.output(str(path), vf=look, pix_fmt="yuv420p", t=_SECONDS, vcodec="mpeg4", qscale=4))


def _still(video: Path, image: Path) -> None:
    import ffmpeg

    _run(ffmpeg.input(str(video), ss=2).output(str(image), vframes=1, vf="hflip,negate"))


def _run(output: object) -> None:
    import subprocess

    import ffmpeg

    from lightpool_core.media.ffmpeg import ffmpeg_command

    command = ffmpeg.compile(output, cmd=ffmpeg_command())
    subprocess.run([*command, "-nostdin", "-loglevel", "error"], check=True, stdin=subprocess.DEVNULL)
