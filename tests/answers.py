"""The guesses of the course: question to (pattern of the numbers that decide, function of them to the option).

The pattern is searched in what a notebook prints and stores; nbval holds these numbers. `test_answers.py` asks whether
the answer that a notebook reveals is the option that they decide.
"""

import math


def nearest(value, options):
    """The option whose number, at its end, is nearest on a logarithmic scale."""
    return min(options, key=lambda option: abs(math.log10(value / float(option.split()[-1]))))


RATIOS = ["about 1e-6", "about 1e-3", "about 1"]


def beats_guessing(*percent):
    names = ("dense", "convolutional", "recurrent")
    better = [name for name, value in zip(names, percent, strict=True) if value > 13]
    return " and ".join(better) or "none"


ANSWERS = {
    # notebook 01
    "Which of the two does better?": (
        r"2 hidden layers: accuracy (\d+) %\s+10 hidden layers: accuracy (\d+) %",
        lambda two, ten: (
            "2 hidden layers" if two > ten + 5 else "10 hidden layers" if ten > two + 5 else "no difference"
        ),
    ),
    "How many powers of ten does delta lose from layer 10 to layer 1?": (
        r"delta of layer 1 / layer 10: ([\d.e+-]+),",
        lambda ratio: f"{-math.log10(ratio):.0f}",
    ),
    "By how much does the loss fall?": (
        r"change of the loss: predicted [\d.e+-]+, measured ([\d.e+-]+)",
        lambda change: f"about 1e{math.log10(-change):.0f}",
    ),
    # notebook 02
    "And the kernel gradient, towards the input?": (
        r"kernel gradient: first / last hidden layer (\S+)",
        lambda ratio: "shrinks too" if ratio < 0.1 else "grows" if ratio > 10 else "stays level",
    ),
    "What is the ratio with the gradient of the whole batch?": (
        r"of the batch: first / last hidden layer (\S+)",
        lambda ratio: nearest(ratio, RATIOS),
    ),
    "Under Adam, which net changes far more?": (
        r"sick +Adam +change +(\d+) %[\s\S]*?healthy +Adam +change +(\d+) %",
        lambda sick, healthy: (
            "the sick net" if sick > 3 * healthy else "the healthy net" if healthy > 3 * sick else "neither"
        ),
    ),
    # notebook 03
    "More and more layers: when does SGD fail?": (
        r"8 layers:\n *SGD: (\d+) of 16 leave the plateau.*\n *Adam: (\d+) of 16",
        lambda sgd, adam: (
            "with fewer layers than Adam"
            if sgd < 8 <= adam
            else "only with more layers than Adam"
            if adam < 8 <= sgd
            else "at the same depth as Adam"
        ),
    ),
    "10 layers of 100 units instead of 10: the gradient ratio is …": (
        r"\n?10 units: .*10 layers ([\d.e-]+), factor[^\n]*\n(?:.*\n)*100 units: .*10 layers ([\d.e-]+), factor",
        lambda narrow, wide: (
            "10 times larger" if wide > 5 * narrow else "10 times smaller" if wide < narrow / 5 else "about the same"
        ),
    ),
    "What helps the 2 sigmoid layers more?": (
        r"4 sigmoid layers solve (\d+) of 8\n2 relu layers solve (\d+) of 8",
        lambda deeper, relu: (
            "2 more layers" if deeper > relu else "ReLU instead of sigmoid" if relu > deeper else "neither"
        ),
    ),
    # notebook 04
    "What is the gradient ratio of ten ReLU layers?": (
        r"ReLU: gradient ratio ([\d.e+-]+)",
        lambda ratio: "about 1" if ratio > 0.03 else "about 1e-3" if ratio > 3e-5 else "about 1e-6",
    ),
    "How many of 32 nets of ten tanh layers are solved?": (
        r"tanh solved by (\d+) of 32",
        lambda solved: "fewer than 8" if solved < 8 else "more than 24" if solved > 24 else "about 16",
    ),
    "Thirty ReLU layers: with which weights are most seeds solved?": (
        r"glorot_uniform .*solved by +(\d+) of 16 seeds\nhe_normal .*solved by +(\d+) of 16",
        lambda glorot, he: {(1, 1): "both", (1, 0): "only Glorot's", (0, 1): "only He's", (0, 0): "neither"}[
            glorot > 8, he > 8
        ],
    ),
    "Ten layers of 2 units: how many of 1000 nets are born dead?": (  # deeper
        r" 2 units: +(\d+) born dead",
        lambda dead: "fewer than 10" if dead < 10 else "10 to 500" if dead <= 500 else "more than 500",
    ),
    # notebook 05
    "At which σ_w does a sigmoid layer pass on all of its gradient?": (
        r"σ_w =  1\.0: .* (\S+)\n[\s\S]*?σ_w =  4\.0: .* (\S+)\n[\s\S]*?σ_w = 10\.0: .* (\S+)",
        lambda one, four, ten: ["about 1", "about 4", "about 10"][
            min(range(3), key=lambda i: abs([one, four, ten][i] - 1))
        ],
    ),
    "Two layers share one initializer object. Do their weights differ?": (
        r"one object\s+(\d+) of 100 weights are equal",
        lambda equal: "no, they are equal" if equal == 100 else "yes",
    ),
    "Thirty layers, one word changed: with which one is no seed solved?": (
        r"  tanh .*?\d+/32 .*? (\d+)/32[\s\S]*?  ReLU .*?\d+/32 .*? (\d+)/32[\s\S]*?  GELU .*?\d+/32 .*? (\d+)/32",
        lambda tanh, relu, gelu: {tanh: "tanh", relu: "ReLU", gelu: "GELU"}[0],
    ),
    "How many of these 64 nets have a delta ratio inside the predicted band?": (
        r"inside the band: (\d+) of 64 nets",
        lambda inside: min(("about 15", "about 30", "about 50"), key=lambda text: abs(float(text[6:]) - inside)),
    ),
    # notebook 06
    "s = 0.5 with Adam: how many of 16 nets solve the task?": (
        r"s = 0\.5 +solved of 16 nets: +\d+ with SGD, +(\d+) with Adam",
        lambda solved: "nearly all" if solved > 12 else "about half" if solved > 3 else "none",
    ),
    "Which clipping keeps the direction?": (
        r"clipvalue .*turned by (\d+) degrees\s+clipnorm .*turned by (\d+) .*\s+global_clipnorm .*turned by (\d+) ",
        lambda value, norm, whole: ["clipvalue", "clipnorm", "global_clipnorm"][
            [value, norm, whole].index(min(value, norm, whole))
        ],
    ),
    "Which net does clipping cure?": (
        r"s = 3, clipped +solved +(\d+) of.*\s+.*s = 0\.5, clipped +solved +(\d+) of.*\s+deep, .* solved +(\d+) of",
        lambda three, half, deep: (
            "all"
            if min(three, half, deep) > 8
            else "recurrent, s = 3"
            if three > 8 and max(half, deep) <= 8
            else "recurrent, s = 0.5"
            if half > 8
            else "deep"
        ),
    ),
    "After how many factors of 10 does float32 say inf?": (
        r"factor +10: inf after (\d+) factors",
        lambda count: f"{count:.0f}",
    ),
    # notebook 07
    "Which of these sigmoid nets is healthy?": (
        r"(8) layers, SGD: +vanishing\n8 layers, Adam: +healthy\n12 .* vanishing\n12 .* vanishing",
        lambda layers: f"{layers:.0f} layers, Adam",
    ),
    "Which of the six is healthy?": (
        r"A: (?!healthy).*\nB: (?!healthy).*\nC: healthy.*\nD: (?!healthy).*\nE: (?!healthy).*\nF: (?!healthy)",
        lambda: "C",
    ),
    "How many of the five lines cure (at least 6 of 8 seeds solved)?": (
        "\n".join(rf"{name}: (\d) of 8 seeds solved" for name in "ABDEF"),
        lambda *solved: str(sum(count >= 6 for count in solved)),
    ),
}
