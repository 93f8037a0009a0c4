from keras_diffkd.recipes.tables import format_table


def test_columns_are_aligned_and_missing_values_are_dashes():
    table = format_table(["model", "accuracy"], [["teacher", "99%"], ["x", None]])
    assert table.split("\n") == [
        "model    accuracy",
        "-------  --------",
        "teacher       99%",
        "x               -",
    ]
