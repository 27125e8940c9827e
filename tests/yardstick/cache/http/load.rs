//! A load that costs little beside what it measures: plain sockets, each asked again as soon as it has answered, and of an answer it reads the status
//! and the length.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Open at once, each with one request at a time.
const CONNECTIONS: usize = 64;
/// Threads that drive them: as many as the servers have on two cores, so that neither is held up by the load.
const THREADS: usize = 2;
/// Answers of a thread in a turn, about.
const ANSWERS_TYPICAL: usize = 1 << 17;
/// One turn.
const TURN: Duration = Duration::from_secs(2);
/// What is still under way at the end of a turn has to come within this time.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Requests are drawn once and then sent in this order by all connections, each from a place of its own.
const DRAWN: usize = 8_192;
/// Longer than any answer.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

/// What one turn came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) per_second: f64,
    pub(super) per_cpu_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// Requests and the order in which they are sent.
pub(super) struct Load {
    requests: Vec<Vec<u8>>,
    order: Vec<usize>,
}

impl Load {
    pub(super) fn new(requests: Vec<Vec<u8>>) -> Self {
        let order = zipf(requests.len());
        Self { requests, order }
    }

    /// Drives the server at `port` for a turn on new connections.
    pub(super) fn drive(&self, port: u16, cpu_centiseconds: impl Fn() -> u64) -> Turn {
        let used_before = cpu_centiseconds();
        let begun = Instant::now();
        let took_us = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| scope.spawn(move || self.ask_and_read(port, thread, begun + TURN)))
                .collect();
            let took_us =
                threads.into_iter().flat_map(|thread| thread.join().expect("a thread of the load ends well"));
            took_us.collect()
        });
        turn(took_us, begun.elapsed(), cpu_centiseconds() - used_before)
    }

    /// One thread's share: asks on all of its connections until the time is up. How long each answer took.
    fn ask_and_read(&self, port: u16, thread: usize, until: Instant) -> Vec<u32> {
        let mut poll = Poll::new().expect("the system has a selector");
        let mut connections: Vec<_> = (0..CONNECTIONS / THREADS)
            .map(|index| Connection::open(&poll, index, (port, DRAWN / CONNECTIONS * (thread + index * THREADS))))
            .collect();
        for connection in &mut connections {
            connection.ask(self);
        }
        let (mut asking, mut took_us) = (connections.len(), Vec::with_capacity(ANSWERS_TYPICAL));
        let mut events = Events::with_capacity(CONNECTIONS);
        while asking > 0 {
            poll.poll(&mut events, Some(LAST_ANSWERS)).expect("the selector works");
            assert!(!events.is_empty(), "no answer within {LAST_ANSWERS:?}");
            for event in &events {
                let connection = &mut connections[event.token().0];
                let Some(us) = connection.read() else { continue };
                took_us.push(us);
                if Instant::now() < until {
                    connection.ask(self);
                } else {
                    asking -= 1;
                }
            }
        }
        took_us
    }
}

#[expect(clippy::cast_precision_loss, reason = "a turn has some hundred thousand requests")]
fn turn(mut took_us: Vec<u32>, elapsed: Duration, used_centiseconds: u64) -> Turn {
    took_us.sort_unstable();
    let count = took_us.len() as f64;
    let percentile = |percent: usize| f64::from(took_us[(took_us.len() - 1) * percent / 100]);
    Turn {
        per_second: count / elapsed.as_secs_f64(),
        per_cpu_second: count * 100.0 / used_centiseconds.max(1) as f64,
        p50_us: percentile(50),
        p99_us: percentile(99),
    }
}

struct Connection {
    stream: TcpStream,
    next: usize,
    asked_at: Instant,
    answer: Vec<u8>,
    filled: usize,
}

impl Connection {
    /// `next` is its place in the order of the requests.
    fn open(poll: &Poll, index: usize, (port, next): (u16, usize)) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = std::net::TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket can be told");
        stream.set_nonblocking(true).expect("a socket can be told");
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE).expect("the selector works");
        Self { stream, next, asked_at: Instant::now(), answer: vec![0; ANSWER_BYTES_MAX], filled: 0 }
    }

    fn ask(&mut self, load: &Load) {
        let request = &load.requests[load.order[self.next % DRAWN]];
        self.next += 1;
        self.filled = 0;
        self.asked_at = Instant::now();
        // A request fits into an empty socket many times over.
        let written = self.stream.write(request).expect("the server reads");
        assert_eq!(written, request.len());
    }

    /// Microseconds that the answer took, once it is whole.
    fn read(&mut self) -> Option<u32> {
        loop {
            match self.stream.read(&mut self.answer[self.filled..]) {
                Ok(0) => panic!("the server closed a connection"),
                Ok(bytes) => self.filled += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("the server broke a connection: {error}"),
            }
            if is_whole(&self.answer[..self.filled]) {
                return Some(u32::try_from(self.asked_at.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
        }
    }
}

/// Is this a whole answer? One that is not a success ends the measurement.
fn is_whole(answer: &[u8]) -> bool {
    const LENGTH: &[u8] = b"\r\ncontent-length: ";
    let Some(head) = position(answer, b"\r\n\r\n") else { return false };
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(answer));
    let digits = position(&answer[..head], LENGTH).expect("the answer has a length") + LENGTH.len();
    let digits = answer[digits..head].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    answer.len() >= head + 4 + length
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, wanted)
}

/// Which request comes when: the one of rank r has the weight 1 ÷ r. The same in every run.
fn zipf(count: usize) -> Vec<usize> {
    #[expect(clippy::cast_precision_loss, reason = "some hundred requests")]
    let weights: Vec<f64> = (1..=count).map(|rank| 1.0 / rank as f64).collect();
    let sum: f64 = weights.iter().sum();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default()) / f64::from(u32::MAX) * sum
    };
    let place = |mut drawn: f64| {
        let found = weights.iter().position(|weight| {
            drawn -= weight;
            drawn <= 0.0
        });
        found.unwrap_or(count - 1)
    };
    (0..DRAWN).map(|_| place(draw())).collect()
}
