//! Derivatives of functions of one and two numbers.

use super::super::graph::{Binary, Compare, Condition, Graph, Id, Unary};

/// f′(a)·c, where y = f(a): by the value where that is cheaper than by the argument.
pub(super) fn scaled(g: &mut Graph, function: Unary, a: Id, y: Id, c: Id) -> Id {
    let one = g.constant(1.0);
    match function {
        Unary::Neg => g.neg(c),
        Unary::Abs => {
            let sign = g.unary(Unary::Sign, a);
            g.mul(c, sign)
        }
        Unary::Sign => g.constant(0.0),
        Unary::Exp => g.mul(c, y),
        Unary::Expm1 => {
            let slope = g.add(y, one);
            g.mul(c, slope)
        }
        Unary::Log => g.div(c, a),
        Unary::Log1p => {
            let shifted = g.add(a, one);
            g.div(c, shifted)
        }
        Unary::Sqrt => {
            let twice = g.add(y, y);
            g.div(c, twice)
        }
        Unary::Sin => {
            let slope = g.unary(Unary::Cos, a);
            g.mul(c, slope)
        }
        Unary::Cos => {
            let slope = g.unary(Unary::Sin, a);
            let product = g.mul(c, slope);
            g.neg(product)
        }
        Unary::Tan => {
            let square = g.mul(y, y);
            let slope = g.add(square, one);
            g.mul(c, slope)
        }
        Unary::Asin | Unary::Acos => {
            let square = g.mul(a, a);
            let rest = g.sub(one, square);
            let root = g.unary(Unary::Sqrt, rest);
            let quotient = g.div(c, root);
            if function == Unary::Asin { quotient } else { g.neg(quotient) }
        }
        Unary::Atan => {
            let square = g.mul(a, a);
            let denominator = g.add(square, one);
            g.div(c, denominator)
        }
        Unary::Sinh => {
            let slope = g.unary(Unary::Cosh, a);
            g.mul(c, slope)
        }
        Unary::Cosh => {
            let slope = g.unary(Unary::Sinh, a);
            g.mul(c, slope)
        }
        Unary::Tanh => {
            let square = g.mul(y, y);
            let slope = g.sub(one, square);
            g.mul(c, slope)
        }
        Unary::Sigmoid => {
            let rest = g.sub(one, y);
            let slope = g.mul(y, rest);
            g.mul(c, slope)
        }
        // 1 − e^−y, which a tape has without the argument.
        Unary::Softplus => {
            let minus = g.neg(y);
            let slope = g.unary(Unary::Expm1, minus);
            let product = g.mul(c, slope);
            g.neg(product)
        }
        Unary::Relu => {
            let zero = g.constant(0.0);
            g.select(Condition { compare: Compare::Less, a: zero, b: y }, c, zero)
        }
        Unary::Elu => {
            let (zero, shifted) = (g.constant(0.0), g.add(y, one));
            let falling = g.mul(c, shifted);
            g.select(Condition { compare: Compare::Less, a: zero, b: y }, c, falling)
        }
        Unary::NormalCdf => {
            let density = normal_density(g, a);
            g.mul(c, density)
        }
    }
}

/// φ(a) = e^(−a²/2) / √(2π).
pub(super) fn normal_density(g: &mut Graph, a: Id) -> Id {
    let (square, half) = (g.mul(a, a), g.constant(-0.5));
    let exponent = g.mul(square, half);
    let bell = g.unary(Unary::Exp, exponent);
    let scale = g.constant(0.398_942_280_401_432_7);
    g.mul(bell, scale)
}

/// p·x^(p−1). Zero where x and p both are, for x^0 is 1 everywhere, and where that is a derivative of x, x², … at 0.
pub(super) fn power_slope(g: &mut Graph, x: Id, p: Id) -> Id {
    let one = g.constant(1.0);
    let less = g.sub(p, one);
    let power = g.binary(Binary::Pow, x, less);
    let slope = g.mul(p, power);
    if g.constant_of(p).is_some_and(|p| p != 0.0) {
        return slope;
    }
    let (zero, size, power) = (g.constant(0.0), g.unary(Unary::Abs, x), g.unary(Unary::Abs, p));
    let both = g.add(size, power);
    g.select(Condition { compare: Compare::LessEqual, a: both, b: zero }, zero, slope)
}

/// ∂x^p/∂p = x^p ln x, y being the power. Zero where x is not positive: that is the limit at zero for p > 0, and below there is no
/// derivative.
pub(super) fn exponent_slope(g: &mut Graph, x: Id, y: Id) -> Id {
    let (zero, log) = (g.constant(0.0), g.unary(Unary::Log, x));
    let slope = g.mul(y, log);
    g.select(Condition { compare: Compare::Less, a: zero, b: x }, slope, zero)
}

/// numerator / (x² + y²).
pub(super) fn angle_rate(g: &mut Graph, y: Id, x: Id, numerator: Id) -> Id {
    let (left, right) = (g.mul(x, x), g.mul(y, y));
    let square = g.add(left, right);
    g.div(numerator, square)
}
