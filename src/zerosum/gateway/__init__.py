"""
The gateway: Binance-Spot's REST and WebSocket API in front of the machines. Signatures, limits, filters; decimals and strings stop here.
"""
