"""The models of ../fits.json for JAX and for NumPy: slopes, a row for each state, and what is observed of them."""


def lynx_hare(y, p):
    hare, lynx = y
    birth, hunt, feed, death = p[:4]
    return birth * hare - hunt * hare * lynx, feed * hare * lynx - death * lynx


def theophylline(y, p):
    gut, blood = y
    absorption, elimination, _ = p
    return -absorption * gut, absorption * gut - elimination * blood


def influenza(y, p):
    susceptible, infected = y
    transmission, recovery = p
    caught = transmission * susceptible * infected / 763
    return -caught, caught - recovery * infected


def michaelis_menten(y, p):
    (substrate,) = y
    rate, half = p
    return (-rate * substrate / (half + substrate),)


def two_compartment(y, p):
    gut, blood, tissue = y
    absorption, available, elimination, outward, inward, _ = p
    over, back = outward * blood, inward * tissue
    return -absorption * gut, available * absorption * gut - elimination * blood - over + back, over - back


# The slope, and what is observed.
MODELS = {
    "lynx-hare": (lynx_hare, lambda y, p: y),
    "theophylline": (theophylline, lambda y, p: [y[1] / p[2]]),
    "influenza": (influenza, lambda y, p: [y[1]]),
    "michaelis-menten": (michaelis_menten, lambda y, p: y),
    "two-compartment": (two_compartment, lambda y, p: [y[1] / p[5]]),
}
