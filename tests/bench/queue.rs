//! The queue under many processes: `cargo bench --bench queue`.
//!
//! Processes claim and finish jobs that do nothing, on one database: through the store, and beside it by a bare loop
//! over SQLite with the same transactions. A line of JSON for every measurement goes to the standard output.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

mod bare;
mod contest;
mod stored;

use std::time::Duration;

use contest::{Contest, Queue};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == contest::CHILD) {
        contest::take_part(&words[1..]);
        return;
    }
    let value = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)
    };
    let list = |name: &str, default: &str| -> Vec<usize> {
        value(name)
            .map_or(default, String::as_str)
            .split(',')
            .map(|number| number.parse().unwrap())
            .collect()
    };
    let seconds: f64 = value("--seconds").map_or(3.0, |text| text.parse().unwrap());
    for _ in 0..list("--rounds", "1")[0] {
        for waiting in list("--waiting", "200,4000") {
            for processes in list("--processes", "2,8,32,64") {
                for queue in [Queue::Bare, Queue::Store] {
                    let contest = Contest {
                        queue,
                        processes,
                        threads: 1,
                        waiting,
                        time: Duration::from_secs_f64(seconds),
                    };
                    println!("{}", contest.hold());
                }
            }
        }
        // Threads of one process: their writes are committed together.
        for threads in list("--threads", "1,8,32") {
            let contest = Contest {
                queue: Queue::Store,
                processes: 1,
                threads,
                waiting: 200,
                time: Duration::from_secs_f64(seconds),
            };
            println!("{}", contest.hold());
        }
    }
}
