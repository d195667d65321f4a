"""What is frozen into a MicroPython of one's own: ``FROZEN_MANIFEST=…/esp32/manifest.py``, see docs/firmware.md."""

include("$(PORT_DIR)/boards/manifest.py")
package("lamp", opt=2)
module("slots.py", opt=2)
module("main.py", opt=2)
