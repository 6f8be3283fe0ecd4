//! A reserve for small unchecked allocations: strings, boxes, tables.
//!
//! WebAssembly memory ends, and Rust's own collections abort when it does, which in WebAssembly loses the whole instance.
//! Large arrays are asked for with care ([`fallible`]) and leave the reserve alone, so that a call which begins with the reserve
//! whole ([`ensure`]) has as much for everything else. Natively there is no reserve: the system ends a process that asks for too
//! much.

/// Runs an allocation whose failure is handled: it fails where memory has run out, and does not touch the reserve.
pub(crate) fn fallible<R>(allocate: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "wasm32")]
    {
        let before = allocator::FALLIBLE.swap(true, std::sync::atomic::Ordering::Relaxed);
        let result = allocate();
        allocator::FALLIBLE.store(before, std::sync::atomic::Ordering::Relaxed);
        result
    }
    #[cfg(not(target_arch = "wasm32"))]
    allocate()
}

#[cfg(target_arch = "wasm32")]
pub(crate) use allocator::ensure;

#[cfg(target_arch = "wasm32")]
mod allocator {
    use core::arch::wasm32::memory_size;
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed};

    /// What one call may take without asking: far more than it does.
    const SIZE: usize = 1 << 20;
    const LAYOUT: Layout = match Layout::from_size_align(SIZE, 16) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    };

    static RESERVE: AtomicPtr<u8> = AtomicPtr::new(null_mut());

    /// Whether the allocation under way handles its failure.
    pub(super) static FALLIBLE: AtomicBool = AtomicBool::new(false);

    const PAGE: usize = 1 << 16;

    /// The pages of the memory, as they were seen last.
    static PAGES: AtomicUsize = AtomicUsize::new(0);

    #[global_allocator]
    static ALLOCATOR: ReservingAllocator = ReservingAllocator;

    /// Sees to it that the reserve is whole; false where memory has run out.
    pub(crate) fn ensure() -> bool {
        if RESERVE.load(Relaxed).is_null() {
            // SAFETY: the layout has a size.
            RESERVE.store(unsafe { System.alloc(LAYOUT) }, Relaxed);
        }
        !RESERVE.load(Relaxed).is_null()
    }

    /// The system's allocator, which frees the reserve before an unchecked allocation fails.
    struct ReservingAllocator;

    impl ReservingAllocator {
        fn allocate(&self, allocate: impl Fn() -> *mut u8) -> *mut u8 {
            let allocated = allocate();
            if !allocated.is_null() {
                grow_ahead();
                return allocated;
            }
            if FALLIBLE.load(Relaxed) {
                return allocated;
            }
            let reserve = RESERVE.swap(null_mut(), Relaxed);
            if reserve.is_null() {
                return null_mut();
            }
            // SAFETY: it was allocated with this layout, and has no other owner.
            unsafe { System.dealloc(reserve, LAYOUT) };
            allocate()
        }
    }

    /// Where memory has just grown, lets it grow by a sixteenth of itself, so that it grows a few times where it would grow with every
    /// step. To JavaScript's collector, each time is as if all of it were new, and it begins to collect.
    fn grow_ahead() {
        let pages = memory_size(0);
        if pages == PAGES.load(Relaxed) {
            return;
        }
        if let Ok(layout) = Layout::from_size_align(pages * PAGE / 16, 16) {
            // SAFETY: the layout has a size. Freed memory stays at the end of the heap, and is allocated next.
            unsafe {
                let ahead = System.alloc(layout);
                if !ahead.is_null() {
                    System.dealloc(ahead, layout);
                }
            }
        }
        PAGES.store(memory_size(0), Relaxed);
    }

    // SAFETY: all is the system's allocator's, asked for a second time where it has failed. None is inlined: the allocator's own code
    // at every place that allocates is a twentieth of the module.
    unsafe impl GlobalAlloc for ReservingAllocator {
        #[inline(never)]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as the caller promises.
            self.allocate(|| unsafe { System.alloc(layout) })
        }

        #[inline(never)]
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as the caller promises.
            self.allocate(|| unsafe { System.alloc_zeroed(layout) })
        }

        #[inline(never)]
        unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: the caller's promise; if it fails, the memory is unchanged.
            self.allocate(|| unsafe { System.realloc(memory, layout, size) })
        }

        #[inline(never)]
        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            // SAFETY: as the caller promises.
            unsafe { System.dealloc(memory, layout) };
        }
    }
}
