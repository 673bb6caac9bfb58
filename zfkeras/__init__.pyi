"""The public names of zfkeras and where they live. `__init__.py` loads them by this file."""

from . import image as image
from .analysis.correspondence import (
    Correspondence as Correspondence,
    correspondence as correspondence,
)
from .analysis.evolution import (
    FeatureEvolution as FeatureEvolution,
    Snapshot as Snapshot,
    load_evolution as load_evolution,
)
from .analysis.explanations import (
    Explanations as Explanations,
    Settings as Settings,
    explanations as explanations,
)
from .analysis.faithfulness import Faithfulness as Faithfulness, faithfulness as faithfulness
from .analysis.filters import (
    FilterStatistics as FilterStatistics,
    filter_statistics as filter_statistics,
)
from .analysis.invariance import Invariance as Invariance, invariance as invariance
from .analysis.landmarks import load_landmarks as load_landmarks
from .analysis.map_statistics import MapStatistics as MapStatistics
from .analysis.model_check import check_model as check_model
from .analysis.occlusion import Occluder as Occluder, occlusion as occlusion
from .analysis.occlusion_result import (
    CoarseSearch as CoarseSearch,
    Occlusion as Occlusion,
    WatchedMap as WatchedMap,
    WatchedScores as WatchedScores,
)
from .analysis.top_activations import top_activations as top_activations
from .analysis.top_result import TopActivations as TopActivations
from .atlas import write_atlas as write_atlas
from .atlas.projecting import Winners as Winners
from .client import AsyncClient as AsyncClient, Client as Client
from .constraints import FilterRMS as FilterRMS
from .data.folders import image_folder as image_folder
from .data.generated import generated as generated
from .data.sources import from_tfds as from_tfds
from .deconvnet.local import UnitProjections as UnitProjections
from .deconvnet.net import (
    DeconvNet as DeconvNet,
    Projection as Projection,
    iterate_units as iterate_units,
    project_units as project_units,
)
from .deconvnet.rules import Rule as Rule
from .graph.predictor import Predictor as Predictor
from .graph.receptive_fields import receptive_field as receptive_field
from .layers import (
    LocalResponseNormalization as LocalResponseNormalization,
    MaxPoolWithArgmax2D as MaxPoolWithArgmax2D,
    MaxUnpool2D as MaxUnpool2D,
    PixelMean as PixelMean,
)
from .models.alexnet import AlexNet as AlexNet
from .models.loading import load_model as load_model
from .models.variants import variant as variant, variants as variants
from .models.vgg import VGG as VGG
from .models.zfnet import ZFNet as ZFNet
from .regions.receptive_field import ReceptiveField as ReceptiveField
from .results import Result as Result, load_results as load_results
from .saved_model import export as export
from .training.evaluation import Evaluation as Evaluation, evaluate as evaluate
from .training.fit import train as train
from .training.recipes import recipe as recipe
from .version import __version__ as __version__
