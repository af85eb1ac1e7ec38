"""Train, test and export a keyword spotter: python train.py [group=choice] [key=value] …"""

import hydra
from omegaconf import DictConfig

from kws.runs import configuration

configuration.register_resolvers()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig):
    from kws.training.run import train

    return configuration.run(train, config)


if __name__ == "__main__":
    configuration.start(main)
