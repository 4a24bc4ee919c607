//! Where services listen. It must not know what they do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use acgs_vocabulary::JudgeKind;

/// Where services listen; the unspecified address stands for one that this process does not serve.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Quality.
    pub quality: SocketAddr,
    /// Drift.
    pub drift: SocketAddr,
    /// Performance.
    pub performance: SocketAddr,
    /// Orchestrator.
    pub orchestrator: SocketAddr,
    /// Gateway.
    pub gateway: SocketAddr,
}

impl Addresses {
    /// Nothing is served yet.
    pub(crate) fn none() -> Self {
        let unserved = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self {
            quality: unserved,
            drift: unserved,
            performance: unserved,
            orchestrator: unserved,
            gateway: unserved,
        }
    }

    /// A judge's.
    pub(crate) fn of(&mut self, judge: JudgeKind) -> &mut SocketAddr {
        match judge {
            JudgeKind::Quality => &mut self.quality,
            JudgeKind::Drift => &mut self.drift,
            JudgeKind::Performance => &mut self.performance,
        }
    }

    /// Where a judge is served; port 0 when it is not.
    pub(crate) fn at(&self, judge: JudgeKind) -> SocketAddr {
        match judge {
            JudgeKind::Quality => self.quality,
            JudgeKind::Drift => self.drift,
            JudgeKind::Performance => self.performance,
        }
    }

    /// Those that are served, by name.
    pub fn served(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let all = [
            ("quality", self.quality),
            ("drift", self.drift),
            ("performance", self.performance),
            ("orchestrator", self.orchestrator),
            ("gateway", self.gateway),
        ];
        all.into_iter().filter(|(_, address)| address.port() != 0)
    }
}
