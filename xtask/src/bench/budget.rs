//! What is measured and what must be reached: the budget table as data.

/// One run of `skylark bench` and the figures taken from its report.
pub(super) struct Load {
    /// With SYNC_FLUSH instead of ASYNC_FLUSH.
    pub(super) sync_flush: bool,
    pub(super) arguments: &'static [&'static str],
    /// Whether the floor server can do it as well.
    pub(super) on_floor: bool,
    pub(super) figures: &'static [Figure],
}

pub(super) struct Figure {
    pub(super) name: &'static str,
    /// Where it stands in the report, as a JSON pointer; empty if it isn't from there.
    pub(super) at: &'static str,
    pub(super) unit: Unit,
    pub(super) needs: &'static [Need],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Messages a second: more is better, and so it is of the next. Of all others less is.
    PerSecond,
    MebibytesPerSecond,
    Micros,
    Kibibytes,
    Mebibytes,
    Seconds,
    Count,
    /// How many times another figure it is.
    Times,
    Percent,
}

/// What Skylark must reach, in terms of what else was measured in the same run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    /// So many times Apache's rate.
    TimesApache(f64),
    /// So much of the floor's rate.
    ShareOfFloor(f64),
    /// So many times the floor's latency at most.
    FloorTimes(f64),
    /// So many times the latency of fdatasync alone at most.
    FdatasyncTimes(f64),
    AtMost(f64),
    /// So much of Skylark's own figure of this name.
    ShareOf(&'static str, f64),
}

use Need::{AtMost, FdatasyncTimes, FloorTimes, ShareOf, ShareOfFloor, TimesApache};

const RATE: &str = "/messages_per_second";
pub(super) const P50: &str = "/latency_us/p50";
pub(super) const P99: &str = "/latency_us/p99";

pub(super) const LOADS: [Load; 8] = [
    Load {
        sync_flush: false,
        arguments: &[
            "produce",
            "--size",
            "128",
            "--connections",
            "4",
            "--in-flight",
            "64",
        ],
        on_floor: true,
        figures: &[rate(
            "send 128 B, 4 connections x 64",
            &[TimesApache(6.0), ShareOfFloor(0.55)],
        )],
    },
    Load {
        sync_flush: false,
        arguments: &[
            "produce",
            "--size",
            "1024",
            "--connections",
            "4",
            "--in-flight",
            "64",
        ],
        on_floor: true,
        figures: &[rate(
            "send 1 KiB, same",
            &[TimesApache(5.0), ShareOfFloor(0.5)],
        )],
    },
    Load {
        sync_flush: false,
        arguments: &[
            "produce",
            "--size",
            "128",
            "--connections",
            "4",
            "--in-flight",
            "8",
            "--batch",
            "50",
        ],
        on_floor: true,
        figures: &[rate(
            "batch send 50 x 128 B",
            &[TimesApache(2.5), ShareOfFloor(0.4)],
        )],
    },
    Load {
        sync_flush: false,
        arguments: &[
            "produce",
            "--size",
            "128",
            "--connections",
            "1",
            "--in-flight",
            "1",
        ],
        on_floor: true,
        figures: &[micros("send, one in flight, p50", P50, &[FloorTimes(1.3)])],
    },
    Load {
        sync_flush: false,
        arguments: &[
            "consume",
            "--fill",
            "200000",
            "--size",
            "128",
            "--connections",
            "4",
            "--queues",
            "4",
        ],
        on_floor: false,
        figures: &[rate("pull, 4 queues, 32 a time", &[TimesApache(3.0)])],
    },
    Load {
        sync_flush: false,
        arguments: &["latency", "--size", "128", "--rate", "1000"],
        on_floor: false,
        figures: &[
            micros("send to held pull, 1 k/s, p50", P50, &[AtMost(150.0)]),
            micros("send to held pull, 1 k/s, p99", P99, &[AtMost(1000.0)]),
        ],
    },
    Load {
        sync_flush: false,
        arguments: &["latency", "--size", "128", "--rate", "20000"],
        on_floor: false,
        figures: &[micros(
            "send to held pull, 20 k/s, p99",
            P99,
            &[AtMost(5000.0)],
        )],
    },
    Load {
        sync_flush: true,
        arguments: &[
            "produce",
            "--size",
            "128",
            "--connections",
            "4",
            "--in-flight",
            "64",
        ],
        on_floor: false,
        figures: &[rate("SYNC_FLUSH 128 B, 256 in flight", &[TimesApache(6.0)])],
    },
];

/// Comes right after a measurement of fdatasync alone.
pub(super) const SYNC_ONE: Load = Load {
    sync_flush: true,
    arguments: &[
        "produce",
        "--size",
        "128",
        "--connections",
        "1",
        "--in-flight",
        "1",
    ],
    on_floor: false,
    figures: &[micros(
        "SYNC_FLUSH 128 B, one in flight, p50",
        P50,
        &[FdatasyncTimes(1.6)],
    )],
};

const BESIDE_CROWD: &[Need] = &[ShareOf(LOADS[0].figures[0].name, 0.9)];
/// The first load once more while `skylark bench crowd` is there: 1,000 consumers of 100 groups wait, 100,000 messages are to
/// come.
pub(super) const CROWDED: Load = Load {
    figures: &[rate(
        "send 128 B beside 100,000 timers and 1,000 consumers",
        BESIDE_CROWD,
    )],
    ..LOADS[0]
};

pub(super) const RESIDENT: Figure = Figure {
    name: "resident, idle broker + nameserver",
    at: "",
    unit: Unit::Mebibytes,
    needs: &[AtMost(40.0)],
};
pub(super) const READY_EMPTY: Figure = Figure {
    name: "start to ready, empty store",
    at: "",
    unit: Unit::Seconds,
    needs: &[AtMost(0.2)],
};
pub(super) const READY_KILLED: Figure = Figure {
    name: "start to ready, 2 GiB, after kill -9",
    at: "",
    unit: Unit::Seconds,
    needs: &[AtMost(0.5)],
};

/// How long a load lasts, as arguments. A load of large bodies gets a second: a server that takes a GB of them in each
/// has the kernel hold it back after a few, and its rate is the disk's then, be it the floor or ours.
pub(super) fn length<'a>(arguments: &[&str], warm_up: &'a str, seconds: &'a str) -> [&'a str; 4] {
    let mut pairs = arguments.windows(2).filter(|pair| pair[0] == "--size");
    let size = pairs.next().and_then(|pair| pair[1].parse().ok());
    match size {
        Some(1024u32..) => ["--warm-up", "0", "--seconds", "1"],
        _ => ["--warm-up", warm_up, "--seconds", seconds],
    }
}

pub(super) const fn rate(name: &'static str, needs: &'static [Need]) -> Figure {
    Figure {
        name,
        at: RATE,
        unit: Unit::PerSecond,
        needs,
    }
}

pub(super) const fn micros(name: &'static str, at: &'static str, needs: &'static [Need]) -> Figure {
    Figure {
        name,
        at,
        unit: Unit::Micros,
        needs,
    }
}

/// Every row of the table in its order.
pub(super) fn figures() -> impl Iterator<Item = &'static Figure> {
    const LAST: [&[Figure]; 5] = [
        CROWDED.figures,
        SYNC_ONE.figures,
        &[RESIDENT],
        &[READY_EMPTY],
        &[READY_KILLED],
    ];
    LOADS.iter().map(|load| load.figures).chain(LAST).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_are_sent_for_a_second() {
        let of = |load: &Load| length(load.arguments, "1", "4");
        assert_eq!(of(&LOADS[0]), ["--warm-up", "1", "--seconds", "4"]);
        assert_eq!(of(&LOADS[1]), ["--warm-up", "0", "--seconds", "1"]);
        let unsaid = ["--warm-up", "1", "--seconds", "4"];
        assert_eq!(length(&["latency"], "1", "4"), unsaid);
    }
}
