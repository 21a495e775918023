//! The bar that shows how it goes, where there is a terminal to show it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::drive::Stretch;
use super::tally::quantile_ms;

const LOOK: Duration = Duration::from_millis(250);

/// Shows rate and latency of the last second until it is dropped.
pub(super) async fn show(stretch: Rc<Stretch>, length: Duration) {
    let bar = ProgressBar::new(length.as_millis() as u64);
    if bar.is_hidden() {
        return std::future::pending().await;
    }
    // A template that indicatif cannot read would only look plainer.
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:30} {msg}") {
        bar.set_style(style);
    }
    let started = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        bar.set_position(started.elapsed().as_millis() as u64);
        bar.set_message(message(&stretch));
    }
}

fn message(stretch: &Stretch) -> String {
    let tally = stretch.tally.borrow();
    // The last one is not over yet.
    let Some([second, _]) = tally.seconds().last_chunk() else {
        return String::new();
    };
    let [p50, p99] = [0.5, 0.99].map(|quantile| quantile_ms(&second.accepted, quantile));
    let (accepted, refused) = (second.accepted.len(), second.refused);
    let wrong = tally.wrong();
    format!("{accepted}/s, p50 {p50:.2} ms, p99 {p99:.2} ms, {refused} refused, {wrong} wrong")
}
