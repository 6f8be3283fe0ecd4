//! Work on several cores: items that do not depend on each other, by threads that are kept. The results do not depend on how many
//! there are, nor on which thread takes which item.

/// Calls `work` with each item and one of the states, on as many threads as there are states.
///
/// # Panics
/// If `work` does.
pub fn each<S: Send, I: Send>(states: &mut [S], items: &mut [I], work: impl Fn(&mut S, &mut I) + Sync) {
    #[cfg(not(target_arch = "wasm32"))]
    if states.len() > 1 && items.len() > 1 && pool::run(states, items, &work) {
        return;
    }
    items.iter_mut().for_each(|item| work(&mut states[0], item));
}

#[cfg(not(target_arch = "wasm32"))]
mod pool {
    use std::hint::spin_loop;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::thread::{Builder, Thread, park, yield_now};

    /// How often a thread polls for work before it sleeps: as long as a solver takes between two uses of its field.
    const SPINS: usize = 4000;

    /// The threads of the pool; the lock gives them to one caller.
    static THREADS: Mutex<Vec<Worker>> = Mutex::new(Vec::new());

    struct Worker {
        job: Arc<AtomicPtr<Job<'static>>>,
        thread: Thread,
    }

    /// Items to be worked on.
    struct Job<'a> {
        /// Takes the numbers of a thread and of an item.
        work: &'a (dyn Fn(usize, usize) + Sync),
        items: usize,
        next: AtomicUsize,
        /// Threads that may still touch it.
        left: AtomicUsize,
        failed: AtomicBool,
    }

    impl Job<'_> {
        fn run(&self, thread: usize) {
            loop {
                let item = self.next.fetch_add(1, Ordering::Relaxed);
                if item >= self.items {
                    return;
                }
                if catch_unwind(AssertUnwindSafe(|| (self.work)(thread, item))).is_err() {
                    self.failed.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Elements of a slice, borrowed one by one.
    struct Elements<T>(*mut T);
    // SAFETY: each element goes to one thread at a time.
    unsafe impl<T: Send> Sync for Elements<T> {}

    impl<T> Elements<T> {
        fn at(&self, index: usize) -> *mut T {
            self.0.wrapping_add(index)
        }
    }

    /// False where another caller has the threads, or there are none.
    pub fn run<S: Send, I: Send>(states: &mut [S], items: &mut [I], work: &(impl Fn(&mut S, &mut I) + Sync)) -> bool {
        let Ok(mut threads) = THREADS.try_lock() else { return false };
        let helpers = (states.len() - 1).min(items.len() - 1);
        while threads.len() < helpers {
            let Some(worker) = start(threads.len() + 1) else { break };
            threads.push(worker);
        }
        let helpers = helpers.min(threads.len());
        let (count, states, items) = (items.len(), Elements(states.as_mut_ptr()), Elements(items.as_mut_ptr()));
        // SAFETY: each thread has its own number, and only one thread takes an item; both lie within their slices.
        let body = |thread: usize, item: usize| unsafe { work(&mut *states.at(thread), &mut *items.at(item)) };
        let job = Job {
            work: &body,
            items: count,
            next: AtomicUsize::new(0),
            left: AtomicUsize::new(helpers),
            failed: AtomicBool::new(false),
        };
        let pointer = (&raw const job).cast_mut().cast::<Job<'static>>();
        for worker in &threads[..helpers] {
            worker.job.store(pointer, Ordering::Release);
            worker.thread.unpark();
        }
        // It catches what fails, so that this function does not end before all others have let go of the job.
        job.run(0);
        let mut spins = 0;
        while job.left.load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins < SPINS { spin_loop() } else { yield_now() }
        }
        drop(threads);
        assert!(!job.failed.load(Ordering::Relaxed), "a thread has failed");
        true
    }

    fn start(number: usize) -> Option<Worker> {
        let job = Arc::new(AtomicPtr::new(null_mut()));
        let own = Arc::clone(&job);
        let builder = Builder::new().name(format!("symplectic-adjoint {number}"));
        let handle = builder.spawn(move || run_worker(number, &own)).ok()?;
        Some(Worker { job, thread: handle.thread().clone() })
    }

    fn run_worker(number: usize, job: &AtomicPtr<Job<'static>>) {
        let mut spins = 0;
        loop {
            let pointer = job.load(Ordering::Acquire);
            if pointer.is_null() {
                spins += 1;
                if spins < SPINS {
                    spin_loop()
                } else {
                    park()
                }
                continue;
            }
            spins = 0;
            job.store(null_mut(), Ordering::Relaxed);
            // SAFETY: the caller that owns it waits until `left` is zero, and setting that is the last thing that this thread does with it.
            let job = unsafe { &*pointer };
            job.run(number);
            job.left.fetch_sub(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::each;

    #[test]
    fn each_item_is_worked_on_once() {
        for threads in 1..5 {
            for count in [0, 1, 2, 7, 100] {
                let mut states = vec![0; threads];
                let mut items: Vec<usize> = (0..count).collect();
                for _ in 0..20 {
                    each(&mut states, &mut items, |state, item| {
                        *state += 1;
                        *item += 1;
                    });
                }
                assert!(items.iter().enumerate().all(|(index, &item)| item == index + 20));
                assert_eq!(states.iter().sum::<usize>(), 20 * count);
            }
        }
    }

    #[test]
    fn several_callers_share_the_threads() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mut items = vec![1_u64; 50];
                        each(&mut [(), ()], &mut items, |(), item| *item *= 3);
                        assert!(items.iter().all(|&item| item == 3));
                    }
                });
            }
        });
    }

    #[test]
    fn a_failure_reaches_the_caller_and_the_threads_go_on() {
        let fails = || each(&mut [(), ()], &mut [0, 1, 2, 3], |(), item| assert!(*item != 2));
        assert!(std::panic::catch_unwind(fails).is_err());
        let mut items = [0; 8];
        each(&mut [(), ()], &mut items, |(), item| *item = 1);
        assert_eq!(items, [1; 8]);
    }
}
