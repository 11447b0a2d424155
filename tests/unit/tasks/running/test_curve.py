from tasks.running.curve import Curve


def test_table_has_a_column_for_every_metric_that_any_step_has():
    curve = Curve()
    curve.log(1, {"loss": 0.5})
    curve.log(2, {"loss": 0.25, "val": 30.0})
    assert curve.csv() == "step,loss,val\n1,0.5,\n2,0.25,30\n"


def test_two_calls_for_one_step_make_one_row():
    curve = Curve()
    curve.log(3, {"loss": 1.0})
    curve.log(3, {"val": 2.0})
    assert curve.csv() == "step,loss,val\n3,1,2\n"


def test_a_resumed_training_drops_the_rows_after_its_resume_point():
    curve = Curve()
    for step in (10, 20, 30):
        curve.log(step, {"loss": float(step)})
    curve.log(20, {"loss": 7.0})
    assert curve.csv() == "step,loss\n10,10\n20,7\n"


def test_an_empty_curve_is_false():
    assert not Curve()
