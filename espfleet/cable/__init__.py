"""A board on a USB cable: its port, its MicroPython prompt, its flash. Only here mpremote and esptool are used."""
