"""Makes a figure small enough for docs/images: at most 1000 pixels wide, 192 colours.

python benchmarks/small_png.py reproduced/fig7-1.png docs/images/fig7.png
"""

import sys
from pathlib import Path

from PIL import Image

WIDTH, COLOURS = 1000, 192


def main(source: str, target: str) -> None:
    picture = Image.open(source).convert("RGB")
    if picture.width > WIDTH:
        height = round(picture.height * WIDTH / picture.width)
        picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target}: {Path(target).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:])
