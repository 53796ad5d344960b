"""The data contract: what one record holds, and how it is written and read.

`schema.pbtxt` tells it to TFX, `features` names it to code, `record` encodes and decodes it as a message of `example`.
"""
