"""Measure a stored spotter: python evaluate.py run=DIR [split=…] [data=…]"""

import hydra
from omegaconf import DictConfig

from kws.runs import configuration

configuration.register_resolvers()


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig):
    from kws.evaluation.run import evaluate

    return configuration.run(evaluate, config)


if __name__ == "__main__":
    configuration.start(main)
