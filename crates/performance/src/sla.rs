//! Metrics of a service against its targets, by the original's rules. It must not know where metrics come from.

use std::collections::BTreeMap;

use acgs_vocabulary::Severity;

/// A missed target.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The metric.
    pub metric: String,
    /// Measured.
    pub value: f64,
    /// The target.
    pub target: f64,
    /// How grave.
    pub severity: Severity,
    /// |value - target| / target x 100; 0 for a target of 0.
    pub deviation_percent: f64,
}

/// Which targets the metrics miss. Throughput and availability are better when higher, all others when lower;
/// throughput may fall to 80 % of its target.
#[must_use]
pub fn violations(targets: &BTreeMap<String, f64>, metrics: &BTreeMap<String, f64>) -> Vec<Violation> {
    let missed = metrics.iter().filter_map(|(metric, &value)| {
        let &target = targets.get(metric)?;
        let ratio = if target == 0.0 { f64::INFINITY } else { value / target };
        let severity = match metric.as_str() {
            "throughput_rps" if value >= 0.8 * target => return None,
            "throughput_rps" if value < 0.5 * target => Severity::Medium,
            "throughput_rps" => Severity::Low,
            "availability_percent" if value >= target => return None,
            "availability_percent" if value < 0.95 * target => Severity::Critical,
            "availability_percent" if value < 0.98 * target => Severity::High,
            "availability_percent" => Severity::Medium,
            _ if value <= target => return None,
            _ if ratio > 1.5 => Severity::Critical,
            _ if ratio > 1.2 => Severity::High,
            _ => Severity::Medium,
        };
        let deviation_percent = if target == 0.0 { 0.0 } else { (value - target).abs() / target * 100.0 };
        Some(Violation { metric: metric.clone(), value, target, severity, deviation_percent })
    });
    missed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_follow_the_original() {
        let targets: BTreeMap<String, f64> = [
            ("response_time_ms", 500.0),
            ("availability_percent", 99.5),
            ("throughput_rps", 100.0),
            ("error_rate_percent", 0.0),
        ]
        .map(|(name, target)| (name.to_owned(), target))
        .into();
        let judge = |metric: &str, value: f64| {
            violations(&targets, &[(metric.to_owned(), value)].into())
                .first()
                .map(|violation| violation.severity)
        };
        assert_eq!(judge("response_time_ms", 500.0), None);
        assert_eq!(judge("response_time_ms", 550.0), Some(Severity::Medium));
        assert_eq!(judge("response_time_ms", 650.0), Some(Severity::High));
        assert_eq!(judge("response_time_ms", 800.0), Some(Severity::Critical));
        assert_eq!(judge("availability_percent", 98.0), Some(Severity::Medium));
        assert_eq!(judge("availability_percent", 97.0), Some(Severity::High));
        assert_eq!(judge("availability_percent", 90.0), Some(Severity::Critical));
        assert_eq!(judge("throughput_rps", 85.0), None);
        assert_eq!(judge("throughput_rps", 70.0), Some(Severity::Low));
        assert_eq!(judge("throughput_rps", 10.0), Some(Severity::Medium));
        assert_eq!(
            judge("error_rate_percent", 0.1),
            Some(Severity::Critical),
            "a target of 0 divides nothing"
        );
        assert_eq!(judge("other", 1e9), None);
    }
}
