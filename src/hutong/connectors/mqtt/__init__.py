"""MQTT: messages out to brokers, and values in from them."""

from hutong.connectors.mqtt.sender import MqttSender

__all__ = ["MqttSender"]
