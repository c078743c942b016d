//! The committed document is the one this build would write.

use expect_test::expect_file;

use super::*;

#[test]
fn the_committed_document_is_fresh() {
    expect_file!["../../../../../docs/config.md"].assert_eq(&document());
}
