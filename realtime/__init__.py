"""The live program: from a volume to the sound that follows from it.

messages, errors, ports, config   values, errors, swap points, settings
bundle                            what training hands over: manifest, ONNX, voxels, reference
scoring                           identification accuracy and its chance band
preprocessing/                    align, sample the decoder's voxels, remove drift, z-score; numba
decoding/                         ONNX decoder, evidence over a trial, posterior and confidence
music/                            catalogue, selection, synthesis
playback/                         ring, mixer, safety chain, sinks, in a process of its own
session/                          journal, record, the pure core and its asyncio shell
console/                          a running session for people
topics                            what is said on the bus, a type for each topic
outlets/                          a session for tasks and recorders, in a process of its own
bus, broker, app                  MQTT, and a broker for one machine; the composition root
rehearsal                         a recorded run through the whole loop
atomic                            files that are written whole or not at all
"""
