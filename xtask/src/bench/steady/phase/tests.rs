//! What counts as steady.
use super::*;

const MACHINE: &[Cause] = &[Cause::Machine];
const OWN: &[Cause] = &[Cause::Made];

fn phase(system: System, memory: &[f64], stalls: &[&[Cause]]) -> Phase {
    let piece = |mib: &f64| Piece {
        send: [0.1, 1.0, 2.0],
        received: None,
        resident_mib: *mib,
        open_files: 20,
        files_made: 1,
        files_deleted: 1,
        failure: None,
    };
    let stall = |causes: &&[Cause]| Stall {
        ms: 30.0,
        causes: causes.to_vec(),
    };
    Phase {
        name: format!("{system:?}"),
        system,
        rate: 1_000,
        pieces: memory.iter().map(piece).collect(),
        stalls: stalls.iter().map(stall).collect(),
    }
}

fn verdict(ours: &[&[Cause]], floors: Option<&[&[Cause]]>) -> &'static str {
    let mut phases = vec![phase(System::Skylark, &[40.0, 40.0], ours)];
    phases.extend(floors.map(|stalls| phase(System::Floor, &[5.0], stalls)));
    phases[0].verdict(floor(&phases))
}

#[test]
fn as_many_stalls_a_minute_as_the_floor() {
    assert_eq!(verdict(&[], Some(&[])), "yes");
    assert_eq!(verdict(&[OWN], Some(&[])), "NO");
    assert_eq!(
        verdict(&[OWN, OWN], Some(&[OWN])),
        "yes",
        "two in two minutes"
    );
    assert_eq!(verdict(&[OWN, OWN, OWN], Some(&[OWN])), "NO");
    assert_eq!(
        verdict(&[OWN, OWN], Some(&[MACHINE, MACHINE])),
        "NO",
        "the floor has none of its own"
    );
    assert_eq!(
        verdict(&[MACHINE, MACHINE, MACHINE], Some(&[MACHINE])),
        "NO",
        "the machine does not single us out"
    );
}

#[test]
fn without_the_floor_the_machine_is_no_excuse() {
    assert_eq!(verdict(&[], None), "yes");
    assert_eq!(verdict(&[MACHINE], None), "?");
    assert_eq!(verdict(&[MACHINE, OWN], None), "NO");
}

#[test]
fn what_was_refused_or_lost_is_not_steady_and_no_floor() {
    let failed = |system| {
        let mut phase = phase(system, &[40.0], &[MACHINE]);
        phase.pieces[0].failure = Some("7 lost".to_owned());
        phase
    };
    let ours = failed(System::Skylark);
    assert_eq!(ours.is_reached(None), Some(false));
    let good = phase(System::Skylark, &[40.0], &[MACHINE]);
    let phases = [failed(System::Floor), good];
    assert_eq!(phases[1].is_reached(floor(&phases)), None);
}

#[test]
fn the_last_third_is_compared_with_the_first() {
    let grows = |memory: &[f64]| phase(System::Skylark, memory, &[]).grows();
    assert!(!grows(&[40.0]));
    assert!(!grows(&[40.0, 44.0]));
    assert!(grows(&[40.0, 45.0]));
    // One minute at either end doesn't decide.
    assert!(!grows(&[
        40.0, 44.0, 44.0, 44.0, 44.0, 44.0, 44.0, 44.0, 60.0
    ]));
    assert!(grows(&[
        60.0, 40.0, 40.0, 44.0, 44.0, 44.0, 48.0, 48.0, 48.0
    ]));

    let mut files = phase(System::Skylark, &[40.0; 3], &[]);
    files.pieces[2].open_files = 37;
    assert!(files.grows());
}

#[test]
fn what_all_connections_note_is_one_stall() {
    let noted = |at_ms, ms, causes: &[Cause]| Noted {
        at_ms,
        stall: Stall {
            ms,
            causes: causes.to_vec(),
        },
    };
    let both = [Cause::Made, Cause::Machine];
    let stalls = moments(vec![
        noted(1_099, 40.0, OWN),
        noted(1_000, 25.0, &both),
        noted(1_100, 21.0, MACHINE),
        noted(1_150, 30.0, MACHINE),
    ]);
    let stall = |ms, causes: &[Cause]| Stall {
        ms,
        causes: causes.to_vec(),
    };
    assert_eq!(
        stalls,
        [stall(40.0, OWN), stall(30.0, MACHINE)],
        "and the machine's only if each has it so"
    );
}
