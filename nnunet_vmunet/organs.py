"""The organs of the abdominal CT volumes: BTCV's thirteen, and TransUNet's eight of them, which the paper reports."""

# In the released label maps the first organ is 1; 0 is background.
BTCV_ORGANS = (
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "oesophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "portal and splenic vein",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
)

# The order in which the VM-UNet paper, and every other since TransUNet's, reports them. Other orders circulate.
SYNAPSE_ORGANS = ("aorta", "gallbladder", "left kidney", "right kidney", "liver", "pancreas", "spleen", "stomach")
