# SPDX-License-Identifier: MIT
# Four packages of 58 MB: 1500 files of 300 bytes to 60 kB each, and four of 7 MB.
inherit sample-package
PACKAGES = "payload-1 payload-2 payload-3 payload-4"
FILES:payload-1 = "/usr/lib/payload-1"
FILES:payload-2 = "/usr/lib/payload-2"
FILES:payload-3 = "/usr/lib/payload-3"
FILES:payload-4 = "/usr/lib/payload-4"

SIZES = "300 2000 9000 20000 60000"
LARGE = "7400000"

python do_install() {
    import os
    import random

    words = [f"word {number}\n".encode() for number in range(4000)]
    sizes = [int(size) for size in d.getVar("SIZES").split()]

    def content(size):
        """Half of it compresses to nothing less, as programs do, the other half well, as text does."""
        text = b"".join(source.choices(words, k=size // 16))
        return source.randbytes(size - min(len(text), size // 2)) + text[: size // 2]

    for name in d.getVar("PACKAGES").split():
        source = random.Random(name)
        top = os.path.join(d.getVar("D"), "usr/lib", name)
        for number in range(1500):
            folder = os.path.join(top, f"{number % 30}", f"{number % 7}")
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, f"{number}"), "wb") as file:
                file.write(content(source.choice(sizes)))
        for number in range(4):
            with open(os.path.join(top, f"large-{number}"), "wb") as file:
                file.write(content(int(d.getVar("LARGE"))))
}
