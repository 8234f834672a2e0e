"""The scanner's side: read volumes from wherever they appear and deliver every one of them.

volume     what travels: RunHeader, Volume, RunEnd
wire       those three as bytes and back; no sockets
delivery   sequence numbers, acknowledgement, resend, deduplication; pure, no sockets
transport  the ZeroMQ sockets under delivery
sources/   where volumes come from: a recorded run, a synthetic scanner, a DICOM folder
"""
