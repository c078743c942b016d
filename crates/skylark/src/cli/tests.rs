//! The names and the spelling of Apache's tools.

use clap::Parser;

use super::*;

fn check(args: &[&str], expect: &[&str], as_apache: bool) {
    let (found, apache) = arguments(args.iter().map(OsString::from)).unwrap();
    assert_eq!(found, expect);
    assert_eq!(apache, as_apache);
}

#[test]
fn the_name_chooses_the_command() {
    check(
        &["/usr/bin/skylark", "bench"],
        &["/usr/bin/skylark", "bench"],
        false,
    );
    check(&["bin/mqnamesrv"], &["skylark", "namesrv"], true);
    check(
        &[
            "mqbroker",
            "-n",
            "a:9876",
            "-configFile",
            "b.conf",
            "-namesrvAddr=c",
            "-p",
        ],
        &[
            "skylark",
            "broker",
            "-n",
            "a:9876",
            "--configFile",
            "b.conf",
            "--namesrvAddr=c",
            "-p",
        ],
        true,
    );
}

#[test]
fn standalone_is_what_runs_without_a_command() {
    for args in [
        &["skylark", "--data", "d"][..],
        &["skylark", "standalone", "--data", "d"],
    ] {
        let skylark = Skylark::try_parse_from(args).unwrap();
        let standalone = match skylark.command {
            Some(Command::Standalone(standalone)) => standalone,
            None => skylark.standalone,
            Some(_) => panic!("{args:?} runs something else"),
        };
        assert_eq!(standalone.data, Path::new("d"));
    }
    assert!(Skylark::try_parse_from(["skylark", "nonsense"]).is_err());
}
