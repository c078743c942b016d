//! Groups: which are made by themselves, which names are refused, what the file keeps.

use super::Groups;

#[test]
fn a_legal_name_makes_a_group_where_that_is_allowed() {
    let long = "g".repeat(256);
    for (auto_create, name, made) in [
        (true, "orders", true),
        (true, "tenant%orders|x_1-2", true),
        (true, "TOOLS_CONSUMER", true),
        (true, "../orders", false),
        (true, "gr\u{fc}n", false),
        (true, "", false),
        (true, long.as_str(), false),
        (true, &long[..255], true),
        (false, "orders", false),
        (false, "TOOLS_CONSUMER", true),
        (false, "CID_RMQ_SYS_orders", true),
    ] {
        let mut groups = Groups::boot(auto_create);
        assert_eq!(
            groups.create(name, 0).is_some(),
            made,
            "{name} with auto_create={auto_create}"
        );
        assert_eq!(groups.find(name).is_some(), made, "{name}");
    }
}

#[test]
fn the_file_brings_groups_back() {
    let mut groups = Groups::boot(true);
    groups.create("orders", 7);
    let file = groups.to_table();
    assert_eq!(file.data_version.timestamp, 7);

    let mut restarted = Groups::boot(false);
    restarted.load(file);
    assert!(restarted.find("orders").is_some());
    assert!(restarted.find("CID_ONSAPI_OWNER").is_some());
}
