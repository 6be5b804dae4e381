//! Percentiles of millions of durations in a few kilobytes.

use std::time::Duration;

use super::document::Percentiles;

/// How much wider each bucket is than the one before: the error of a percentile.
const GROWTH: f64 = 1.02;

/// Buckets enough for an hour in microseconds at that growth (`ln 3.6e9 / ln 1.02` = 1,112); longer ones are in the last.
const BUCKETS: usize = 1_120;

/// Counts of durations by size.
#[derive(Debug)]
pub(super) struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { buckets: vec![0; BUCKETS], count: 0, max: Duration::ZERO }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, duration: Duration) {
        let micros = duration.as_secs_f64() * 1e6;
        // Casts saturate: what is too long ends in the last bucket.
        let bucket = (micros.max(1.0).ln() / GROWTH.ln()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.max = self.max.max(duration);
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let max = self.max.as_secs_f64();
        Percentiles { p50: self.at(0.50), p95: self.at(0.95), p99: self.at(0.99), max }
    }

    /// Seconds that `part` of the durations took at most.
    fn at(&self, part: f64) -> f64 {
        let wanted = (self.count as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        let upper = bucket.map_or(0.0, |bucket| GROWTH.powf(bucket as f64 + 1.0) / 1e6);
        upper.min(self.max.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_true_to_two_in_a_hundred() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        let Percentiles { p50, p95, p99, max } = latencies.percentiles();
        for (measured, exact) in [(p50, 0.5), (p95, 0.95), (p99, 0.99)] {
            assert!((measured / exact - 1.0).abs() < 0.0201, "{measured} for {exact}");
        }
        assert_eq!(max, 1.0);
    }

    #[test]
    fn extremes_and_nothing_are_told_as_they_are() {
        assert_eq!(Latencies::default().percentiles(), Percentiles::default());
        let mut latencies = Latencies::default();
        latencies.add(Duration::ZERO);
        assert_eq!(latencies.percentiles(), Percentiles::default());
        latencies.add(Duration::from_secs(1_000_000));
        assert_eq!(latencies.percentiles().max, 1_000_000.0);
    }
}
