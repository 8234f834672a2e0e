"""The scanner's side: read volumes from wherever they appear and deliver every one of them.

volume        what travels: RunHeader, Volume, RunEnd
wire          those three as bytes and back; no sockets (wire_headers: their msgpack headers)
delivery      sequence numbers, acknowledgement, resend, deduplication; pure, no sockets
transport     BridgeClient and VolumeServer, over ZeroMQ (link: the client's thread; sockets: common options)
keys          CURVE key files
sources/      where volumes come from: a recorded run, a synthetic phantom, a DICOM folder
serve         one run from a source to the live program
export        one run into a 4-D NIfTI
inspection    what a source holds, for people and programs
waiting       waiting that a signal can end
complaints    what a command says when it cannot do what was asked
"""
