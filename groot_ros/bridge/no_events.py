"""For publishers and subscriptions that come and go while the node runs.

rclpy's executor ends with InvalidHandle when the event handlers of a publisher or
subscription are destroyed while it gathers what to wait for. Without handlers it copes.
Nothing is lost where the QoS asks for the least or offers the most: it is always compatible.
"""

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

PUBLISHER = PublisherEventCallbacks(use_default_callbacks=False)
SUBSCRIPTION = SubscriptionEventCallbacks(use_default_callbacks=False)
