import pytest

from mm_assets.pigmentation.original_config import OriginalConfigError, is_original, run_config

ORIGINAL = {
    "dataset": {
        "dermoscopy_path": "../backend/data/dermoscopy/images",
        "clinical_path": "../backend/data/clinical/images",
    },
    "training": {
        "batch_size": 8, "epochs": 10, "learning_rate": 0.0001, "num_workers": 4, "save_path": "best_model.pth",
    },
    "model": {"attention_heads": 8},
    "device": {"use_gpu": True},
}  # fmt: skip


def test_the_original_file_means_the_same_here():
    run = run_config(ORIGINAL)
    assert run["env"] == {
        "MM_PIGMENTATION_URL": "../backend/data", "MM_PIGMENTATION_LAYOUT": "folders", "MM_WORKERS": "4",
        "MM_DEVICE": "auto",
    }  # fmt: skip
    assert run["config"] == {
        "pigmentation/model": {"batch_size": 8, "epochs": 10, "learning_rate": 1e-4, "attention_heads": 8}
    }
    assert len(run["notes"]) == 1 and "training.save_path" in run["notes"][0]


def test_parts_of_it_do_as_well():
    assert run_config({"device": {"use_gpu": False}}) == {"env": {"MM_DEVICE": "cpu"}, "config": {}, "notes": []}
    assert run_config({"training": {"learning_rate": "1e-4"}})["config"]["pigmentation/model"]["learning_rate"] == 1e-4
    assert run_config({"training": {"num_workers": 0}})["env"] == {"MM_WORKERS": "1"}
    assert run_config({"dataset": {"clinical_path": "clinical/images"}})["env"]["MM_PIGMENTATION_URL"] == "."
    assert run_config({"dataset": {"clinical_path": "/data/clinical/images/"}})["env"]["MM_PIGMENTATION_URL"] == "/data"


def test_unknown_keys_are_all_named():
    with pytest.raises(OriginalConfigError, match=r"colour, training\.optimizer: no such key"):
        run_config({"training": {"optimizer": "sgd", "epochs": 1}, "colour": 3})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"training": {"epochs": 0}}, "whole number"),
        ({"training": {"epochs": True}}, "whole number"),
        ({"training": {"batch_size": 2.5}}, "whole number"),
        ({"training": {"learning_rate": "fast"}}, "number above 0"),
        ({"training": {"num_workers": -1}}, "whole number"),
        ({"device": {"use_gpu": "yes please"}}, "true or false"),
        ({"dataset": {"clinical_path": "/data/photos"}}, "clinical/images"),
        ({"dataset": {"clinical_path": "/a/clinical/images", "dermoscopy_path": "/b/dermoscopy/images"}}, "one root"),
    ],
)
def test_values_that_mean_nothing_say_what_to_give(values, told):
    with pytest.raises(OriginalConfigError, match=told):
        run_config(values)


def test_an_original_file_is_recognised_by_its_sections():
    assert is_original(ORIGINAL) and is_original({"training": {}})
    assert not is_original({"pigmentation/model": {"epochs": 3}}) and not is_original({})
