//! Does drift do harm? Decided where the evidence of drift meets the interval of the loss.
//! It must not know how either came about.
//!
//! A change of the inputs that leaves the loss alone is no reason to act; a rise of the loss is. The question of the
//! harmful shift is that of Podkopaev and Ramdas (ICLR 2022); here it is asked of one window with a fixed interval.

/// Whether drift does harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// No drift.
    None,
    /// Drift, and the loss is surely not above what is tolerated.
    Harmless,
    /// Drift, and the loss is surely above what is tolerated.
    Harmful,
    /// Drift, but the loss cannot tell; or drift was not judged.
    Unknown,
}

/// How the loss stands against what is tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Risk {
    /// The whole interval is above.
    Worse,
    /// The whole interval is at or below.
    NotWorse,
    /// The interval holds the bound, or there is none.
    Unclear,
}

/// Places an interval of the loss against `baseline + margin`.
#[must_use]
pub fn risk(interval: Option<(f64, f64)>, baseline: Option<f64>, margin: f64) -> Risk {
    let (Some((lower, upper)), Some(baseline)) = (interval, baseline) else { return Risk::Unclear };
    if lower > baseline + margin {
        Risk::Worse
    } else if upper <= baseline + margin {
        Risk::NotWorse
    } else {
        Risk::Unclear
    }
}

/// Joins both sides; `drifted` is `None` where drift was not judged.
#[must_use]
pub fn harm(drifted: Option<bool>, risk: Risk) -> Harm {
    match (drifted, risk) {
        (Some(false), _) => Harm::None,
        (Some(true), Risk::Worse) => Harm::Harmful,
        (Some(true), Risk::NotWorse) => Harm::Harmless,
        (Some(true), Risk::Unclear) | (None, _) => Harm::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_side_of_the_bound() {
        assert_eq!(risk(Some((0.16, 0.2)), Some(0.14), 0.01), Risk::Worse);
        assert_eq!(risk(Some((0.1, 0.15)), Some(0.14), 0.01), Risk::NotWorse);
        assert_eq!(risk(Some((0.1, 0.2)), Some(0.14), 0.01), Risk::Unclear);
        assert_eq!(risk(None, Some(0.14), 0.01), Risk::Unclear);
        assert_eq!(risk(Some((0.1, 0.2)), None, 0.01), Risk::Unclear);
        assert_eq!(harm(Some(true), Risk::Worse), Harm::Harmful);
        assert_eq!(harm(Some(true), Risk::NotWorse), Harm::Harmless);
        assert_eq!(harm(Some(true), Risk::Unclear), Harm::Unknown);
        assert_eq!(harm(Some(false), Risk::Worse), Harm::None);
        assert_eq!(harm(None, Risk::Worse), Harm::Unknown);
    }
}
