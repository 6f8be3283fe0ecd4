//! Which registers this machine has, and calls of code that is compiled for each of them.

use super::{Bits128, Simd};
#[cfg(target_arch = "x86_64")]
use super::{Bits256, Bits512};

/// Something written once for registers of any width.
pub trait WithSimd {
    type Output;
    /// Inlined, with all that it calls, into code that may use the registers.
    fn run<S: Simd>(self) -> Self::Output;
}

/// Runs it with the registers in use.
#[inline(always)]
pub fn dispatch<W: WithSimd>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    match bits() {
        // SAFETY: the machine has the instructions.
        512 => return unsafe { with_512(work) },
        256 => return unsafe { with_256(work) },
        _ => {}
    }
    work.run::<Bits128>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn with_512<W: WithSimd>(work: W) -> W::Output {
    work.run::<Bits512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_256<W: WithSimd>(work: W) -> W::Output {
    work.run::<Bits256>()
}

/// The width of the vector registers in use, in bits: 128, 256 (AVX2) or 512 (AVX-512), the widest that this machine has. You can limit
/// it by the environment variable `SYMPLECTIC_ADJOINT_REGISTERS`, a number of bits, which is read once.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn bits() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static BITS: AtomicUsize = AtomicUsize::new(0);
    match BITS.load(Ordering::Relaxed) {
        0 => {
            let found = found();
            BITS.store(found, Ordering::Relaxed);
            found
        }
        bits => bits,
    }
}

#[cfg(target_arch = "x86_64")]
#[cold]
fn found() -> usize {
    let limit = std::env::var("SYMPLECTIC_ADJOINT_REGISTERS").ok().and_then(|text| text.parse().ok()).unwrap_or(512);
    widths().into_iter().rfind(|&bits| bits <= limit).unwrap_or(128)
}

/// The widths that this machine has, in order.
#[cfg(target_arch = "x86_64")]
pub fn widths() -> Vec<usize> {
    let has_256 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let has_512 = has_256
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    [(128, true), (256, has_256), (512, has_512)].into_iter().filter(|width| width.1).map(|width| width.0).collect()
}

/// The width of the vector registers in use, in bits: 128 on this target.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub const fn bits() -> usize {
    128
}
