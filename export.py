"""Export a stored spotter: python export.py run=DIR [export=[onnx,…]]"""

import hydra
from omegaconf import DictConfig

from kws.runs import configuration

configuration.register_resolvers()


@hydra.main(version_base="1.3", config_path="conf", config_name="export")
def main(config: DictConfig):
    from kws.export.run import export

    return configuration.run(export, config)


if __name__ == "__main__":
    configuration.start(main)
