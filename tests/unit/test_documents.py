from bridge.status.diagnosis import documents


def test_what_is_named_is_there_and_has_the_heading():
    file, _, alert = documents.more_about("SwfBridgeDown").partition(", ")
    with open(file) as text:
        assert f"### {alert}\n" in text.read()


def test_where_no_document_stands_the_alert_is_named_alone(tmp_path):
    assert documents.more_about("SwfBridgeDown", (tmp_path,)) == "the alert SwfBridgeDown"
