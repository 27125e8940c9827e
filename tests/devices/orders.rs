//! What a faulty device is to do: one line in a file, looked at before each call that can fail.
//!
//! `<number> <call> <fault> <times>`, such as `3 wait lost 1` or `4 run slow:200 always`. Another number is another order. What is
//! anything else, or not there, orders nothing. Beside the file lies one that ends in `.struck`: the order's number, and how many
//! calls it has struck.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Who hangs looks so often whether it is still to.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// As often as there are calls.
const ALWAYS: &str = "always";

/// What a call says instead of doing what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It failed, and says no more.
    Failed,
    /// There is no memory left.
    OutOfMemory,
    /// The device is gone.
    Lost,
}

/// The file, and how often its present order has struck.
pub(crate) struct Orders {
    file: PathBuf,
    struck: Mutex<(u64, u64)>,
}

/// One line.
struct Order {
    number: u64,
    call: String,
    conduct: Conduct,
    times: u64,
}

#[derive(Clone, Copy)]
enum Conduct {
    Says(Fault),
    Hangs,
    Takes(Duration),
}

impl Orders {
    /// Those in the file that a variable of the environment names; none without it.
    pub(crate) fn named_by(variable: &str) -> Self {
        Self { file: env::var_os(variable).unwrap_or_default().into(), struck: Mutex::default() }
    }

    /// What a call has to say, if it may not do what it is for. It comes back late from here when it is to be slow, and once
    /// there is another order when it is to hang.
    pub(crate) fn obeyed(&self, call: &str) -> Option<Fault> {
        let order = self.read().filter(|order| order.call == call && self.strikes(order))?;
        match order.conduct {
            Conduct::Says(fault) => return Some(fault),
            Conduct::Takes(duration) => std::thread::sleep(duration),
            Conduct::Hangs => {
                while self.read().is_some_and(|present| present.number == order.number) {
                    std::thread::sleep(LOOK_EVERY);
                }
            }
        }
        None
    }

    fn read(&self) -> Option<Order> {
        Order::parse(&fs::read_to_string(&self.file).ok()?)
    }

    /// Does it strike once more?
    fn strikes(&self, order: &Order) -> bool {
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        let beside = self.file.with_extension("struck");
        if struck.0 != order.number {
            // The library may have been unloaded meanwhile, and all that it knew is gone: a Vulkan loader does that with drivers.
            let before = fs::read_to_string(&beside).unwrap_or_default();
            let of_this = before.strip_prefix(&format!("{} ", order.number)).and_then(|count| count.parse().ok());
            *struck = (order.number, of_this.unwrap_or_default());
        }
        if struck.1 >= order.times {
            return false;
        }
        struck.1 += 1;
        // Who looks for it notices when it is missing.
        let _ = fs::write(beside, format!("{} {}", struck.0, struck.1));
        true
    }
}

impl Order {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (number, call) = (words.next()?.parse().ok()?, words.next()?.to_owned());
        let conduct = match words.next()? {
            "fail" => Conduct::Says(Fault::Failed),
            "out_of_memory" => Conduct::Says(Fault::OutOfMemory),
            "lost" => Conduct::Says(Fault::Lost),
            "hang" => Conduct::Hangs,
            slow => Conduct::Takes(Duration::from_millis(slow.strip_prefix("slow:")?.parse().ok()?)),
        };
        let times = words.next()?;
        let times = if times == ALWAYS { u64::MAX } else { times.parse().ok()? };
        Some(Self { number, call, conduct, times })
    }
}
