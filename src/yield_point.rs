//! Places at which a simulation lets somebody else go first: before each transaction. So a seeded loop may put the steps of
//! several commands and of the daemon into any order. In a release build they are nothing.

#[cfg(debug_assertions)]
mod stepping {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Stepping {
        /// Nobody steps what runs now.
        Off,
        /// What runs now is stepped, and has not come to a place since.
        On,
        /// It has come to a place.
        Parked,
    }

    thread_local! {
        static STEPPING: Cell<Stepping> = const { Cell::new(Stepping::Off) };
        /// Counts the steps of this thread.
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    /// How a step ended.
    #[derive(Debug)]
    pub enum Step<T> {
        /// The future is done.
        Done(T),
        /// It stands before a transaction. It goes on when it is polled again.
        Parked,
    }

    /// Polls a future as far as its next transaction.
    pub fn step<T>(future: &mut Pin<Box<dyn Future<Output = T> + '_>>, context: &mut Context<'_>) -> Poll<Step<T>> {
        STEPPING.set(Stepping::On);
        STEPS.set(STEPS.get() + 1);
        let polled = future.as_mut().poll(context);
        match (polled, STEPPING.replace(Stepping::Off)) {
            (Poll::Ready(done), _) => Poll::Ready(Step::Done(done)),
            (Poll::Pending, Stepping::Parked) => Poll::Ready(Step::Parked),
            (Poll::Pending, Stepping::On | Stepping::Off) => Poll::Pending,
        }
    }

    /// Stands still here until the next step, where what runs is stepped.
    pub async fn pass() {
        let mut stands_since = None;
        poll_fn(|context| {
            let step = STEPS.get();
            if STEPPING.get() == Stepping::Off || stands_since.is_some_and(|since| since != step) {
                return Poll::Ready(());
            }
            stands_since = Some(step);
            STEPPING.set(Stepping::Parked);
            // Whoever drives several at once polls only those that were woken.
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

#[cfg(debug_assertions)]
pub use stepping::{Step, pass, step};

/// Nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub async fn pass() {}
