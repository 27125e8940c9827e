//! What is read off the machine: CPU time of a thread, resident memory of the process; and medians.

use std::sync::Mutex;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Resident bytes of this process, as the kernel counts them.
pub(crate) fn resident_bytes() -> u64 {
    lede_origin::process_memory::resident_bytes().expect("Linux tells of a process")
}

/// Seconds that this thread has run, not waited. Whatever else the machine does is not in it.
fn thread_cpu_s() -> f64 {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the kernel counts a thread's time");
    Duration::from(used).as_secs_f64()
}

/// CPU seconds of `work`.
pub(crate) fn cpu_s_of(work: impl FnOnce()) -> f64 {
    let before = thread_cpu_s();
    work();
    thread_cpu_s() - before
}

/// Operations per second that `threads` do together, each doing `operation` for `count` numbers: by CPU time, as if each had a
/// core of its own.
pub(crate) fn rate(threads: usize, count: u32, operation: &(dyn Fn(u32) + Sync)) -> f64 {
    let cpu_s = Mutex::new(0.0);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let cpu_s = &cpu_s;
            // Threads do not go through the same numbers in step.
            let first = u32::try_from(thread).unwrap_or(0).wrapping_mul(0x9e37_79b9);
            scope.spawn(move || {
                let used = cpu_s_of(|| (0..count).for_each(|number| operation(first.wrapping_add(number))));
                *cpu_s.lock().expect("no thread has failed") += used;
            });
        }
    });
    let used = cpu_s.into_inner().expect("no thread has failed");
    let threads = f64::from(u32::try_from(threads).unwrap_or(u32::MAX));
    threads * threads * f64::from(count) / used
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// For a mean or a share.
#[expect(clippy::cast_precision_loss, reason = "for a reader, of numbers below 2^53")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}
