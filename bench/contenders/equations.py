"""The models of ../models.json for JAX and for NumPy, which `np` is: a state for each row of y, [states, batch]."""


def lotka_volterra(np, y, parameters, arguments):
    hare, lynx = y
    birth, hunt, feed, death = parameters
    return hare * (birth - hunt * lynx), lynx * (feed * hare - death)


def pharmacokinetics(np, y, parameters, arguments):
    gut, central, peripheral = y
    absorption, volume, reservoir, capacity, half, clearance, exchange = parameters
    size = arguments / 70
    scale = size**0.75
    blood = central / (volume * size)
    tissue = peripheral / (reservoir * size)
    inward = absorption * gut
    out = scale * (clearance * blood + capacity * blood / (half + blood))
    over = scale * exchange * (blood - tissue)
    return -inward, inward - out - over, over


def lorenz_96(np, y, parameters, arguments):
    return (np.roll(y, -1, axis=0) - np.roll(y, 2, axis=0)) * np.roll(y, 1, axis=0) - y + parameters[0]


MODELS = {"lotka-volterra": lotka_volterra, "pharmacokinetics": pharmacokinetics, "lorenz-96": lorenz_96}
