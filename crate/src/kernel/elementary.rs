//! What elementary functions of f32 and f64 are made of: their coefficients, and the bits of a number.

use num_traits::Float;

/// What [`math`](super::math) needs to know of a number type.
pub trait Elementary: Float + 'static {
    /// 1.5·2^p for p bits of fraction: adding it rounds a number to an integer in the low bits.
    const ROUND: Self;
    /// Bits of the fraction.
    const FRACTION_BITS: f64;
    /// log₂ e.
    const LOG2_E: Self;
    /// ln 2 in two parts, the first with so few bits that its product with an exponent is exact.
    const LN_2: (Self, Self);
    /// Below, e^x is taken to be zero.
    const EXP_FLOOR: Self;
    /// Where e^x is below half the least number, and where it is beyond the greatest.
    const EXP_RANGE: (Self, Self);
    /// Where e^x / 2 is beyond the greatest number, with 2^(n − 2) still a number for the n nearest to x / ln 2.
    const SINH_LIMIT: Self;
    /// ln m = f − ½f² + s·(½f² + z·L(z)) with f = m − 1, s = f / (2 + f), z = s², for √½ ≤ m ≤ √2; lowest power first.
    const LOG: &'static [Self];
    /// Terms of the series of atanh s / s − 1 in s² for s² ≤ 0.03, to half as many digits again as the type has.
    const LOG_TERMS: usize;
    /// 1/3 in two parts.
    const THIRD: (Self, Self);
    /// atan x = x + x³·p(x²) / q(x²) for |x| ≤ limit, and for x = (limit − 1) / (limit + 1); lowest power first.
    const ATAN: Rational<Self>;
    /// asin x = x + x³·p(x²) / q(x²) for |x| ≤ limit = ½; lowest power first.
    const ASIN: Rational<Self>;
    /// tanh as x·p(x²) / q(x²), lowest power first, and the |x| beyond which it stays as it is there; where that is as good
    /// as the exponential and cheaper.
    const TANH: Option<Rational<Self>>;
    /// Terms of the series of e^r − 1 for |r| ≤ ½ ln 2, and of atanh s for s ≤ 1/3.
    const EXP_TERMS: usize;
    /// Terms of the series of atanh s for s ≤ 1/3.
    const ATANH_TERMS: usize;

    /// Φ(−z) e^(z²/2) (z + k) for 0 ≤ z ≤ limit as a polynomial in (z − k) / (z + k), lowest power first.
    const NORMAL_TAIL: &'static [Self];
    /// k, and the limit beyond which Φ(−z) is taken to be zero.
    const NORMAL_CENTRE: Self;
    /// Beyond it, Φ(−z) is taken to be zero.
    const NORMAL_LIMIT: Self;
    /// 2^⌈p/2⌉ + 1 for p bits of precision: multiplying by it splits a number in halves (Dekker 1971).
    const SPLIT: Self;
    /// π/2 in parts, each but the last with so few bits that its product with a number below 2^13 is exact.
    const FRAC_PI_2: &'static [Self];
    /// π/2 less its nearest number.
    const FRAC_PI_2_REST: Self;
    /// sin r = r + r³·S(r²) and cos r = 1 − r²/2 + r⁴·C(r²) for |r| ≤ π/4, lowest power first.
    const SIN: &'static [Self];
    /// The coefficients C of the cosine.
    const COS: &'static [Self];

    /// 2^n from n + [`ROUND`](Self::ROUND).
    fn exp2_rounded(n: Self) -> Self;
    /// The e of |x| = m·2^e with 1 ≤ m < 2, for numbers that are neither zero nor subnormal.
    fn exponent(self) -> Self;
    /// The m of |x| = m·2^e with 1 ≤ m < 2, for numbers that are neither zero nor subnormal.
    fn significand(self) -> Self;
    /// A bit of the representation.
    fn bit(self, index: u32) -> bool;
    /// The library's function, for any argument.
    fn sin_cos(self) -> (Self, Self);
}

/// Coefficients of a ratio of polynomials.
pub struct Rational<T: 'static> {
    pub numerator: &'static [T],
    pub denominator: &'static [T],
    pub limit: T,
}

impl Elementary for f32 {
    const ROUND: f32 = 12_582_912.0;
    const FRACTION_BITS: f64 = 23.0;
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    const EXP_FLOOR: f32 = -87.0;
    const EXP_RANGE: (f32, f32) = (-104.5, 89.0);
    const SINH_LIMIT: f32 = 89.7;
    /// Coefficients of FreeBSD's logf, also musl's.
    #[allow(clippy::excessive_precision, reason = "to more digits than can be told apart")]
    const LOG: &'static [f32] = &[0.666_666_626_93, 0.400_009_721_52, 0.284_987_866_88, 0.242_790_788_41];
    const LOG_TERMS: usize = 6;
    const THIRD: (f32, f32) = (1.0 / 3.0, -9.934_108e-9);
    /// Coefficients of Cephes' atanf.
    #[allow(clippy::excessive_precision, reason = "coefficients stand as they are printed")]
    const ATAN: Rational<f32> = Rational {
        numerator: &[-3.333_294_915_39e-1, 1.997_771_064_78e-1, -1.387_768_560_32e-1, 8.053_744_495_38e-2],
        denominator: &[1.0],
        limit: 0.414_213_562_373_095_0,
    };
    /// Coefficients of Cephes' asinf.
    #[allow(clippy::excessive_precision, reason = "coefficients stand as they are printed")]
    const ASIN: Rational<f32> = Rational {
        numerator: &[
            1.666_675_242_2e-1,
            7.495_300_268_6e-2,
            4.547_002_599_8e-2,
            2.418_131_104_9e-2,
            4.216_319_904_8e-2,
        ],
        denominator: &[1.0],
        limit: 0.5,
    };
    /// The approximation of degree 13 over 6 that Eigen uses, as far as it stays within 3 · 2⁻²⁴ of tanh.
    #[allow(clippy::excessive_precision, reason = "coefficients stand as they are printed")]
    const TANH: Option<Rational<f32>> = Some(Rational {
        numerator: &[
            4.893_524_558_917_86e-3,
            6.372_619_288_754_36e-4,
            1.485_722_357_179_79e-5,
            5.122_297_090_371_14e-8,
            -8.604_671_522_137_35e-11,
            2.000_187_904_824_77e-13,
            -2.760_768_477_423_55e-16,
        ],
        denominator: &[
            4.893_525_185_543_85e-3,
            2.268_434_632_439_00e-3,
            1.185_347_056_866_54e-4,
            1.198_258_394_667_02e-6,
        ],
        limit: 9.0,
    });
    const EXP_TERMS: usize = 7;
    const ATANH_TERMS: usize = 8;
    #[allow(clippy::excessive_precision, reason = "to more digits than can be told apart")]
    const NORMAL_TAIL: &'static [f32] = &[
        7.444_160_80e-1,
        -5.655_617_74e-1,
        3.154_246_64e-1,
        -1.160_523_96e-1,
        1.741_084_71e-2,
        6.490_684_42e-3,
        -3.193_030_79e-3,
        -4.975_321_30e-4,
        4.450_328_68e-4,
        1.246_101_99e-4,
    ];
    const NORMAL_CENTRE: f32 = 3.5;
    const NORMAL_LIMIT: f32 = 13.1;
    const SPLIT: f32 = 4097.0;
    #[allow(clippy::excessive_precision, reason = "to more digits than can be told apart")]
    const FRAC_PI_2: &'static [f32] = &[1.570_312_50, 4.835_128_78e-4, 3.138_557_08e-7, 6.077_100_51e-11];
    const FRAC_PI_2_REST: f32 = -4.371_139e-8;
    /// Coefficients of Cephes.
    #[allow(clippy::excessive_precision, reason = "to more digits than can be told apart")]
    const SIN: &'static [f32] = &[-1.666_665_461_1e-1, 8.332_160_873_6e-3, -1.951_529_589_1e-4];
    #[allow(clippy::excessive_precision, reason = "to more digits than can be told apart")]
    const COS: &'static [f32] = &[4.166_664_568_298_827e-2, -1.388_731_625_493_765e-3, 2.443_315_711_809_948e-5];

    #[inline(always)]
    fn exp2_rounded(n: f32) -> f32 {
        f32::from_bits((n.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
    }
    #[inline(always)]
    fn exponent(self) -> f32 {
        (self.abs().to_bits() >> 23) as f32 - 127.0
    }
    #[inline(always)]
    fn significand(self) -> f32 {
        f32::from_bits(self.to_bits() & 0x007F_FFFF | 1.0_f32.to_bits())
    }
    #[inline(always)]
    fn bit(self, index: u32) -> bool {
        self.to_bits() >> index & 1 == 1
    }
    fn sin_cos(self) -> (f32, f32) {
        libm::sincosf(self)
    }
}

impl Elementary for f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const FRACTION_BITS: f64 = 52.0;
    const LOG2_E: f64 = std::f64::consts::LOG2_E;
    const LN_2: (f64, f64) = (0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10);
    const EXP_FLOOR: f64 = -708.0;
    const EXP_RANGE: (f64, f64) = (-746.0, 710.0);
    const SINH_LIMIT: f64 = 710.8;
    /// Coefficients of fdlibm's log.
    #[allow(clippy::excessive_precision, reason = "coefficients stand as they are printed")]
    const LOG: &'static [f64] = &[
        6.666_666_666_666_735_130e-1,
        3.999_999_999_940_941_908e-1,
        2.857_142_874_366_239_149e-1,
        2.222_219_843_214_978_396e-1,
        1.818_357_216_161_805_012e-1,
        1.531_383_769_920_937_332e-1,
        1.479_819_860_511_658_591e-1,
    ];
    const LOG_TERMS: usize = 12;
    const THIRD: (f64, f64) = (1.0 / 3.0, 1.850_371_707_708_594e-17);
    /// Coefficients of Cephes' atan.
    #[allow(clippy::excessive_precision, reason = "coefficients stand as they are printed")]
    const ATAN: Rational<f64> = Rational {
        numerator: &[
            -6.485_021_904_942_025_371_773e1,
            -1.228_866_684_490_136_173_410e2,
            -7.500_855_792_314_704_667_340e1,
            -1.615_753_718_733_365_076_637e1,
            -8.750_608_600_031_904_122_785e-1,
        ],
        denominator: &[
            1.945_506_571_482_613_964_425e2,
            4.853_903_996_359_136_964_868e2,
            4.328_810_604_912_902_668_951e2,
            1.650_270_098_316_988_542_046e2,
            2.485_846_490_142_306_297_962e1,
            1.0,
        ],
        limit: 0.66,
    };
    /// Coefficients of fdlibm's asin.
    #[allow(clippy::excessive_precision, reason = "coefficients stand as they are printed")]
    const ASIN: Rational<f64> = Rational {
        numerator: &[
            1.666_666_666_666_666_574_15e-1,
            -3.255_658_186_224_009_154_05e-1,
            2.012_125_321_348_629_258_81e-1,
            -4.005_553_450_067_941_140_27e-2,
            7.915_349_942_898_145_321_76e-4,
            3.479_331_075_960_211_675_70e-5,
        ],
        denominator: &[
            1.0,
            -2.403_394_911_734_414_218_78,
            2.020_945_760_233_505_694_71,
            -6.882_839_716_054_532_930_30e-1,
            7.703_815_055_590_193_527_91e-2,
        ],
        limit: 0.5,
    };
    const TANH: Option<Rational<f64>> = None;
    const EXP_TERMS: usize = 13;
    const ATANH_TERMS: usize = 17;
    #[allow(clippy::excessive_precision, reason = "to more digits than can be told apart")]
    const NORMAL_TAIL: &'static [f64] = &[
        7.552_851_304_157_515_2e-1,
        -6.078_966_419_718_917_5e-1,
        3.871_374_007_422_188_6e-1,
        -1.865_218_579_596_941_7e-1,
        6.039_657_489_069_946_7e-2,
        -7.540_188_965_593_059_3e-3,
        -3.479_692_362_242_533_2e-3,
        1.630_818_441_890_359_6e-3,
        1.333_442_540_190_491_2e-4,
        -2.310_948_183_193_762_0e-4,
        -1.907_866_531_661_357_6e-6,
        3.514_418_115_776_097_3e-5,
        7.150_055_959_216_098_6e-7,
        -5.918_892_731_763_236_2e-6,
        -6.251_321_040_478_680_0e-7,
        1.019_804_851_813_517_2e-6,
        2.636_824_857_640_762_4e-7,
        -1.542_632_053_677_107_5e-7,
        -7.638_082_053_490_450_5e-8,
        1.457_859_334_703_646_0e-8,
        1.392_402_399_350_170_9e-8,
        7.269_545_479_026_689_4e-11,
        -9.653_425_420_228_503_8e-10,
    ];
    const NORMAL_CENTRE: f64 = 4.0;
    const NORMAL_LIMIT: f64 = 37.5;
    const SPLIT: f64 = 134_217_729.0;
    #[allow(clippy::excessive_precision, reason = "to more digits than can be told apart")]
    const FRAC_PI_2: &'static [f64] =
        &[1.570_796_326_794_152_3, 7.443_547_480_480_254_8e-13, 6.368_317_163_510_949_9e-25];
    const FRAC_PI_2_REST: f64 = 6.123_233_995_736_766e-17;
    /// Coefficients of fdlibm.
    #[allow(clippy::excessive_precision, reason = "to more digits than can be told apart")]
    const SIN: &'static [f64] = &[
        -1.666_666_666_666_663_243_48e-1,
        8.333_333_333_322_489_461_24e-3,
        -1.984_126_982_985_794_931_34e-4,
        2.755_731_370_707_006_767_89e-6,
        -2.505_076_025_340_686_341_95e-8,
        1.589_690_995_211_550_102_21e-10,
    ];
    #[allow(clippy::excessive_precision, reason = "to more digits than can be told apart")]
    const COS: &'static [f64] = &[
        4.166_666_666_666_660_190_37e-2,
        -1.388_888_888_887_410_957_49e-3,
        2.480_158_728_947_672_941_78e-5,
        -2.755_731_435_139_066_330_35e-7,
        2.087_572_321_298_174_827_90e-9,
        -1.135_964_755_778_819_482_65e-11,
    ];

    #[inline(always)]
    fn exp2_rounded(n: f64) -> f64 {
        f64::from_bits((n.to_bits() << 52).wrapping_add(1.0_f64.to_bits()))
    }
    #[inline(always)]
    fn exponent(self) -> f64 {
        (self.abs().to_bits() >> 52) as f64 - 1023.0
    }
    #[inline(always)]
    fn significand(self) -> f64 {
        f64::from_bits(self.to_bits() & 0x000F_FFFF_FFFF_FFFF | 1.0_f64.to_bits())
    }
    #[inline(always)]
    fn bit(self, index: u32) -> bool {
        self.to_bits() >> index & 1 == 1
    }
    fn sin_cos(self) -> (f64, f64) {
        libm::sincos(self)
    }
}
