"""All notebooks as one PDF of lecture notes, printed from the pages of the site by Chromium, without a network.

python tools/pdf.py [--student] [--out build/diffgauss.pdf] [--site build/site]

The site is built where it is missing. Answers that fold are opened, or with --student left out like the solutions;
code that folds stays folded, and a slider is the picture that stands for it.
"""

import argparse
import io
import shutil
import sys
from pathlib import Path

from playwright.sync_api import PdfMargins, sync_playwright
from pypdf import PdfReader, PdfWriter
from web import ROOT, build

PRINTED = """
.bd-sidebar-primary, .bd-sidebar-secondary, .bd-header, .bd-header-article, .prev-next-footer, .bd-footer,
.cell.tag_setup { display: none !important; }
img, tr, mjx-container { break-inside: avoid; }
h2, h3 { break-after: avoid; }
"""
OPEN = "document.querySelectorAll('details:not(.hide)').forEach(d => { d.open = true })"
BLANKED = """() => {
    for (const fold of document.querySelectorAll("details:not(.hide)"))
        if (fold.querySelector("summary").textContent.trim() !== "Hint") fold.outerHTML = "<em>Your answer:</em>";
    for (const code of document.querySelectorAll(".cell_input pre")) {
        const text = code.textContent;
        const blank = text.replace(/^( *)# BEGIN SOLUTION\\n[^]*?^\\1# END SOLUTION$/gm, "$1...  # write this");
        if (blank !== text) code.textContent = blank;
    }
}"""
"""What tools/student.py does to a notebook, done to its page."""
READY = "window.MathJax?.startup?.promise?.then(() => true)"


def chromium() -> str:
    """The Chromium of this machine. Raises FileNotFoundError where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise FileNotFoundError("no Chromium found; needs one to print, for example Debian's package chromium")


def pages(site: Path, names: list[str], *, student: bool = False) -> list[bytes]:
    """Each page of the site as a PDF, A4 with page numbers; student: without answers and solutions."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        found = []
        for name in names:
            page = browser.new_page()
            page.goto((site / f"{name}.html").as_uri())
            page.evaluate(READY)
            page.add_style_tag(content=PRINTED)
            if student:
                page.evaluate(BLANKED)
            page.evaluate(OPEN)
            number = (
                '<div style="font-size:8px;width:100%;text-align:center"><span class="pageNumber"></span></div>'
            )
            margin: PdfMargins = {"top": "16mm", "bottom": "16mm", "left": "14mm", "right": "14mm"}
            found.append(
                page.pdf(
                    format="A4",
                    print_background=True,
                    scale=0.8,
                    margin=margin,
                    display_header_footer=True,
                    header_template="<span></span>",
                    footer_template=number,
                )  # fmt: skip
            )
            page.close()
        browser.close()
    return found


def bound(parts: dict[str, bytes]) -> bytes:
    """The PDFs one after the other, each with its title in the outline."""
    writer = PdfWriter()
    for title, part in parts.items():
        writer.append(io.BytesIO(part), outline_item=title, import_outline=False)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "diffgauss.pdf")
    parser.add_argument("--site", type=Path, default=ROOT / "build" / "site", help="folder of the built site")
    parser.add_argument("--student", action="store_true", help="without answers and solutions")
    options = parser.parse_args()
    if not (options.site / "index.html").exists() and (code := build(options.site)):
        return code
    names = [f"notebooks/{path.stem}" for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]
    names += ["docs/glossary", "RESULTS"]
    made = bound(dict(zip(names, pages(options.site, names, student=options.student), strict=True)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(made)
    print(f"{len(PdfReader(io.BytesIO(made)).pages)} pages, {len(made) / 1e6:.1f} MB: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
